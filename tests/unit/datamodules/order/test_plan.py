from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.clips import ClipData
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
