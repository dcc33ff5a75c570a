"""Groups of ranks for the tests of everything distributed: they answer by rank, and a failure names its rank."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

sys.path.append(str(Path(__file__).resolve().parents[2] / "fakes"))
from fake.ranks import run_ranks


def total(rank: int, factor: float) -> tuple[float, int]:
    value = torch.tensor(factor * (rank + 1))
    dist.all_reduce(value)
    return value.item(), rank


def fail_on_one(rank: int, how: str) -> None:
    if rank == 1 and how == "raise":
        raise ValueError("of rank one")
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def hang_on_one(rank: int) -> None:
    if rank == 1:
        time.sleep(100)
    dist.barrier()


def test_answers_come_by_rank() -> None:
    assert run_ranks(total, 2, 3.0) == [(9.0, 0), (9.0, 1)]


@pytest.mark.parametrize(
    ("how", "told"), [("raise", "ValueError: of rank one"), ("kill", "rank 1 was ended by SIGKILL")]
)
def test_the_rank_that_failed_is_named(how: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told) as failure:
        run_ranks(fail_on_one, 2, how)
    assert str(failure.value).startswith("rank 1")


def test_ranks_that_hang_show_where() -> None:
    with pytest.raises(AssertionError, match="hang_on_one") as failure:
        run_ranks(hang_on_one, 2, seconds=4)
    assert "rank 0:" in str(failure.value)
    assert "rank 1:" in str(failure.value)
