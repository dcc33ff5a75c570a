"""A share of what `make soak` does to checkpoints in full: whatever happens, the last good one is found, to the bit."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import checkpoints, syscalls

TRACED = pytest.mark.skipif(not syscalls.possible(), reason="this kernel lets no process trace its own forks")


def promise(counts: dict[str, int]) -> None:
    assert counts["tried"] > 0
    assert counts["right"] == counts["tried"], counts


@TRACED
@pytest.mark.parametrize("kind", ["new", "stale", "again", "damaged"])
def test_kills_in_the_midst_of_a_save(tmp_path: Path, kind: str) -> None:
    promise(checkpoints.alone(checkpoints.kill_sweep, tmp_path / "a", kinds=(kind,), every=11))


@TRACED
@pytest.mark.skipif(not syscalls.X86, reason="calls can be made to fail on x86-64 alone")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_calls_that_fail(tmp_path: Path, number: int) -> None:
    counts = checkpoints.alone(checkpoints.fail_sweep, tmp_path / "a", number, every=9)
    promise(counts)
    assert counts["said so"] > 0


@TRACED
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_killed_in_the_midst_of_a_save_leaves_no_other_waiting(tmp_path: Path, rank: int) -> None:
    promise(checkpoints.alone(checkpoints.rank_sweep, tmp_path / "a", rank=rank, every=17))


def test_kills_while_training_saves_all_the_time(tmp_path: Path) -> None:
    promise(checkpoints.alone(checkpoints.random_kills, tmp_path / "a", times=4))


def test_flipped_bits(tmp_path: Path) -> None:
    promise(checkpoints.flips(tmp_path, times=20))


def test_files_cut_short(tmp_path: Path) -> None:
    promise(checkpoints.cuts(tmp_path, lengths=4))


def test_files_that_are_gone_or_something_else(tmp_path: Path) -> None:
    promise(checkpoints.deletions(tmp_path))


def test_limits_to_the_size_of_a_file(tmp_path: Path) -> None:
    promise(checkpoints.alone(checkpoints.size_limits, tmp_path / "a", limits=4))


def test_full_disks(tmp_path: Path) -> None:
    counts = checkpoints.alone(checkpoints.full_disks, tmp_path / "a", times=3)
    if not counts["tried"]:
        pytest.skip("only root may mount a small disk")
    promise(counts)
