from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dit_video.runs import listing, summary

Make, Hold = Callable[..., Path], Callable[[Path], AbstractContextManager[int]]


@pytest.fixture
def folder(make: Make, tmp_path: Path) -> Path:
    make("done", how="done", saved=20, rows=20)
    make("failed", how="failed", text="in step 11, ValueError: a long story " + "on and on " * 20)
    make("with/a/rather/long/name/that/goes/on", more={"job": "12"}, saved=5)
    return tmp_path


def test_a_list_has_a_line_a_run_and_counts_them(folder: Path) -> None:
    runs, _ = summary.below(folder)
    head, *lines, _, total = listing.page(runs, width=None)
    assert [line.split()[0] for line in lines] == ["done", "failed", "with/a/rather/long/name/that/goes/on"]
    assert {"RUN", "STATE", "SAMPLES", "LOSS", "CHECKPOINT", "JOBS", "WHY"} <= set(head.split())
    assert "20/80" not in lines[0]
    assert "80/80" in lines[0]
    assert lines[1].endswith("on and on")
    assert total == "3 run(s): 1 done, 1 failed, 1 stopped"


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_terminal_gets_what_matters_most_in_its_width(folder: Path, width: int) -> None:
    runs, _ = summary.below(folder)
    lines = listing.page(runs, width=width)
    assert max(map(len, lines)) <= width
    for head in ("RUN", "STATE", "SAMPLES", "LOSS"):
        assert head in lines[0]
    assert ("WHY" in lines[0]) == (width == 160)


def test_runs_are_sorted_and_those_without_a_figure_come_last(folder: Path, make: Make, hold: Hold) -> None:
    new = make("new", rows=0)
    with hold(new):
        runs, _ = summary.below(folder)
    assert listing.ordered(runs, by="samples")[-1].record.name == "done"
    assert listing.ordered(runs, by="loss")[0].record.name == "done"
    assert listing.ordered(runs, by="loss")[-1].record.name == "new"
    for key in listing.SORTS:
        assert len(listing.ordered(runs, by=key)) == 4
    assert listing.page([], width=80) == []
