from __future__ import annotations

import os
import time

import numpy as np
import pytest

from datamodules.loading.guard import Guard
from datamodules.prepare.reading import Reading, Rows
from dit_video.errors import DataError, UserError

GUARD = Guard(seconds=0.5)


def read(row: int) -> np.ndarray:
    if row == 9:
        time.sleep(1.0)  # a slow disk
    with GUARD.sample():
        return decoded(row)


def decoded(row: int) -> np.ndarray:
    if row == 5:
        os._exit(11)
    if row == 8:
        time.sleep(60)
    if row == 2:
        raise DataError("2 is damaged")
    return np.full((1, 2, 2, 3), row, np.uint8)


def some(rows: range, workers: int) -> Reading:
    return Reading(rows=Rows(read=read, guard=GUARD), source=rows, workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_come_in_order_with_their_pixels_or_their_error(workers: int) -> None:
    found = list(some(range(5), workers))
    assert [row for row, _ in found] == list(range(5))
    for row, video in found:
        if row == 2:
            assert isinstance(video, UserError)
            assert str(video) == "2 is damaged"
        else:
            assert np.array_equal(video, read(row))


def test_what_ends_or_hangs_its_process_is_damaged_and_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = dict(some(range(12), 2))
    assert sorted(found) == list(range(12))
    bad = {row: str(video) for row, video in found.items() if isinstance(video, UserError)}
    assert bad == {
        2: "2 is damaged",
        5: "decoding it ended its process (exit code 11)",
        8: "decoding it took more than 0.5 seconds",
    }
    assert all(np.array_equal(video, read(row)) for row, video in found.items() if row not in bad)


def test_a_mistake_of_ours_is_not_taken_for_damage() -> None:
    with pytest.raises(ZeroDivisionError):
        list(Reading(rows=Rows(read=lambda row: 1 // 0 * row, guard=Guard()), source=range(3), workers=1))
