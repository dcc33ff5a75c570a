from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.clips import ClipData
from datamodules.order import plan
from datamodules.order.steps import Step
from dit_video.errors import ConfigError


def test_a_run_ends_with_the_step_that_reaches_its_samples(finished: Path) -> None:
    data = ClipData(dataset=str(finished), sizes=["9x32x32"], batch=2, packs=2, workers=0)
    steps = [window.step(at) for window, at in data.plan.run(step=1, samples=10)]
    assert [step.number for step in steps] == [1, 2]
    assert [step.samples_seen for step in steps] == [8, 12]
    assert list(data.plan.run(step=3, samples=10)) == []


def test_streams_fewer_than_ranks_are_refused(finished: Path) -> None:
    data = ClipData(dataset=str(finished), sizes=["9x32x32"], batch=2, packs=4, streams=2, workers=0)
    data.begin(0, 10, 0, 4)
    with pytest.raises(ConfigError, match="2 streams are fewer than 4 ranks"):
        data.train_dataloader()


def test_small_epochs_are_measured_together_and_make_the_same_steps(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps() -> list[Step]:
        data = ClipData(dataset=str(finished), sizes=["9x32x32"], batch=2, packs=2, workers=0)
        return [window.step(at) for window, at in data.plan.run(step=1, samples=100)]

    together = steps()
    monkeypatch.setattr(plan, "STRETCH", 1)
    assert steps() == together


def test_stretches_keep_all_rows_in_their_order() -> None:
    parts = [np.arange(first, last) for first, last in ((0, 3), (3, 3), (3, 8), (8, 9))]
    found = list(plan.stretches(parts, least=4))
    assert [len(part) for part in found] == [8, 1]
    assert np.concatenate(found).tolist() == list(range(9))
