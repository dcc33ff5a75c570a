from __future__ import annotations

import os
import signal

import pytest
import torch
from torch.utils.data import Dataset

from datamodules.loader import Batches, Loaded


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
