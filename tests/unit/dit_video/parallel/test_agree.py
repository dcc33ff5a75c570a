from __future__ import annotations

import sys
from pathlib import Path

from dit_video.parallel.agree import alone, fresh_group, gathered, highest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks


def exchange(rank: int) -> None:
    """Large numbers keep all their bits."""
    assert not alone()
    assert highest([rank, -rank, 2**62 + rank]) == [2, 0, 2**62 + 2]
    assert gathered([rank, 7]) == [[0, 7], [1, 7], [2, 7]]
    one, other = fresh_group(), fresh_group()
    assert one is not None
    assert one is not other


def test_three_processes_agree() -> None:
    run_ranks(exchange, 3)


def test_a_process_alone_agrees_with_itself() -> None:
    assert alone()
    assert highest([3, -1]) == [3, -1]
    assert gathered([3]) == [[3]]
    assert fresh_group() is None
