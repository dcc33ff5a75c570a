from __future__ import annotations

from pathlib import Path

from datamodules.clips import ClipData


def test_a_run_ends_with_the_step_that_reaches_its_samples(finished: Path) -> None:
    data = ClipData(dataset=str(finished), sizes=["9x32x32"], batch=2, packs=2, workers=0)
    steps = [window.step(at) for window, at in data.plan.run(step=1, samples=10)]
    assert [step.number for step in steps] == [1, 2]
    assert [step.samples_seen for step in steps] == [8, 12]
    assert list(data.plan.run(step=3, samples=10)) == []
