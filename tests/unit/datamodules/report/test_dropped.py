"""Reasons are grouped by what they share, and nothing that was refused is lost on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datamodules.report.dropped import dropped, outline, reasons, spread
from datamodules.report.thumbs import Thumbs
from tests.unit.datamodules.report.conftest import Reader, dataset_of

NAN = float("nan")


@pytest.mark.parametrize(
    ("reason", "source", "text"),
    [
        ("too short: 0.3 s", "a.mp4", "too short"),
        ("a/b.mp4 is not a readable video: Invalid data", "a/b.mp4", "is not a readable video"),
        ("a/b.mp4: frame 17 is damaged", "a/b.mp4", "frame … is damaged"),
        ("a.mp4 has no shot of at least min_seconds=0.5", "a.mp4", "has no shot of at least min_seconds=0.5"),
        ("x: y.mp4: frames of 9000x8000 exceed the limit", "x: y.mp4", "frames of … exceed the limit"),
        ("", "a.mp4", "no reason given"),
    ],
)
def test_a_reason_without_its_file(reason: str, source: str, text: str) -> None:
    assert outline(reason, source) == text


def test_groups_hold_every_row_once_the_largest_first() -> None:
    rows = [("a", "a: frame 1 is damaged", NAN), ("b", "too dark: 3", 1.5), ("c", "c: frame 2 is damaged", NAN)]
    found = dataset_of(key=[1.0], refused=rows).refused
    groups = reasons(found)
    assert [(group.text, group.rows) for group in groups] == [("frame … is damaged", (0, 2)), ("too dark", (1,))]


def test_the_table_names_reason_time_and_example_as_text() -> None:
    found = dataset_of(frames=[5], refused=[("<i>.mp4", "frozen: <b>", 1.5), ("x", "x is empty", NAN)])
    found = replace(found, refused=replace(found.refused, shard=np.full(2, -1)))  # no table has pictures of them
    reader = Reader(dropped(found, Thumbs(dataset=found, there=False)))
    assert "<i>.mp4 · 1.5–2.5 s (<b>)" in reader.text
    assert "is empty" in reader.text
    nothing = dataset_of(frames=[5])
    assert "Nothing was refused" in dropped(nothing, Thumbs(dataset=nothing, there=False))


def test_a_spread_is_even_and_has_both_ends() -> None:
    assert spread(range(3), 8) == [0, 1, 2]
    assert spread(range(101), 5) == [0, 25, 50, 75, 100]
