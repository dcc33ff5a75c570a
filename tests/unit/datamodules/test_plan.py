from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from datamodules.clips import ClipData
from datamodules.plan import Batches, Loaded


def test_a_run_ends_with_the_step_that_reaches_its_samples(finished: Path) -> None:
    data = ClipData(dataset=str(finished), sizes=["9x32x32"], batch=2, packs=2, workers=0)
    steps = list(data.plan.run(step=1, samples=10))
    assert [step.number for step in steps] == [1, 2]
    assert [step.samples_seen for step in steps] == [8, 12]
    assert list(data.plan.run(step=3, samples=10)) == []


class Stubborn(Dataset):
    """Sends its worker a signal while it loads."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __getitem__(self, item: int) -> Loaded:
        os.kill(os.getpid(), self.number)
        return Loaded(torch.tensor(item), (), 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_leaves_the_workers_at_work(number: signal.Signals) -> None:
    batches = Batches(Stubborn(number), range(3), workers=1, max_bad_fraction=0.0)  # type: ignore[arg-type]
    assert [int(batch) for batch in batches] == [0, 1, 2]
