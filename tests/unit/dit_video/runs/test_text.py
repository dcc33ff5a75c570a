from __future__ import annotations

import pytest

from dit_video.runs import text
from dit_video.runs.text import Column


@pytest.mark.parametrize(
    ("seconds", "whole", "short"),
    [
        (0, "0 s", "0 s"),
        (59.4, "59 s", "59 s"),
        (60, "1 min", "1 min"),
        (3599, "59 min", "59 min"),
        (3600, "1 h", "1 h"),
        (12_000, "3 h 20 min", "3 h"),
        (86_400 * 2 + 7300, "2 d 2 h", "2 d"),
        (86_400 * 40, "40 d", "40 d"),
        (-5, "0 s", "0 s"),
    ],
)
def test_a_length_of_time(seconds: float, whole: str, short: str) -> None:
    assert (text.span(seconds), text.age(seconds)) == (whole, short)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (0.0, "0"), (1.96784, "1.968"), (0.0565411, "0.05654"), (123456.7, "123,457"), (float("nan"), "nan")],
)  # fmt: skip
def test_a_figure_has_four_digits(value: float | None, shown: str) -> None:
    assert text.figure(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (0.51, "0.51"), (131.4, "131"), (5380, "5.38k"), (2.5e6, "2.5M")]
)
def test_a_rate_is_short(value: float | None, shown: str) -> None:
    assert text.rate(value) == shown


def columns() -> list[Column]:
    return [
        Column(head="RUN", cells=["a" * 30, "b"], least=5),
        Column(head="STATE", cells=["done", "failed"]),
        Column(head="SEEN", cells=["5 s", "1 min"], rank=2),
        Column(head="JOBS", cells=["", ""], rank=1),
        Column(head="STEP", cells=["1", "1,000"], rank=1, right=True),
    ]


def test_a_table_shows_all_that_there_is_where_there_is_room() -> None:
    head, first, second = text.table(columns(), width=None)
    assert head.split() == ["RUN", "STATE", "SEEN", "STEP"]
    assert first == f"{'a' * 30}  done    5 s        1"
    assert second == f"b{' ' * 29}  failed  1 min  1,000"


@pytest.mark.parametrize("width", range(12, 60))
def test_a_table_keeps_to_its_width_and_to_what_matters_most(width: int) -> None:
    lines = text.table(columns(), width=width)
    assert max(map(len, lines)) <= max(width, 13)
    heads = lines[0].split()
    assert heads[:2] == ["RUN", "STATE"]
    assert "STEP" in heads or "SEEN" not in heads


def test_a_curve_falls_as_its_values_do() -> None:
    bars = text.curve([2.0**-at for at in range(64)], width=8)
    assert bars == "█▇▆▅▄▃▂▁"
    assert text.curve([1.0, 1.0], width=8) == "▁▁"
    assert text.curve([0.0, -1.0], width=8) == "█▁"
    assert text.curve([float("nan")], width=8) == ""


def test_a_text_is_cut_where_it_matters_least() -> None:
    assert text.short("a/long/name", 8) == "a/long/…"
    assert text.short("a/long/name", 8, end=True) == "…ng/name"
    assert text.short(" a\nb ", 8) == "a b"


def test_a_long_line_goes_on_indented() -> None:
    assert text.wrapped("one two three", width=8) == ["one two", "  three"]
    assert text.wrapped("one two three", width=None) == ["one two three"]
