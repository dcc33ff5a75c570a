"""Five kills of a training of the DiT on two ranks leave no trace; `make soak` makes 200 of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fake import kills

pytestmark = pytest.mark.xdist_group("train")
SETTINGS = ["experiment=quickstart/dit", "trainer=cpu2", "logger=csv", "callbacks.samples=null", "run.name=a"]
SETTINGS += ["run.samples=60", "run.every_samples=12", "optim.schedule.warmup=10", "datamodules.length=150"]
SETTINGS += ["datamodules.packs=4", "datamodules.streams=4", "datamodules.dropout=0.3"]
SETTINGS += ["datamodules.captions={dense: 0, source: 1}", "models.dit.channels=3", "models.dit.width=32"]
SETTINGS += ["models.dit.depth=1", "models.text.width=32", "models.text.vocabulary=300"]
RANKS, KILLS = 2, 5


@pytest.mark.timeout(300)
def test_kills_at_random_times_leave_no_trace(finished: Path, tmp_path: Path) -> None:
    arguments = [*SETTINGS, f"datamodules.dataset={finished}"]
    within = kills.whole(tmp_path / "whole", arguments, ranks=RANKS)
    draw, left, runs = random.Random(0), KILLS, 0
    while left:
        plan = kills.at_random(draw, within=within, most=left, ranks=RANKS)
        attempts = kills.survive(tmp_path / f"{runs}", arguments, plan=plan)
        assert list(kills.differences(tmp_path / f"{runs}", tmp_path / "whole")) == []
        left -= len(attempts) - 1
        runs += 1
