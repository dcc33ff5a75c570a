from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dit_video.runs import sweep

Make = Callable[..., Path]


@pytest.fixture
def folder(make: Make, tmp_path: Path) -> Path:
    for rate, rows in (("0.001", 10), ("0.01", 10), ("1e-4", 10)):
        make(f"s/optim.lr={rate},run.seed=1", how="done", rows=rows)
    return tmp_path / "s"


def held(folder: Path, value: float, *, name: str = "val_loss_ema") -> None:
    """Give a run's fifth step a loss on held-out clips."""
    path = folder / "metrics.csv"
    head, *lines = path.read_text().splitlines()
    rows = [f"{line},{value if number == 4 else ''}" for number, line in enumerate(lines)]
    path.write_text("\n".join([f"{head},{name}", *rows]) + "\n")


def test_the_lowest_held_out_loss_is_the_best_where_all_have_one(folder: Path) -> None:
    values = {"0.001": 0.3, "0.01": 0.2}
    for rate, value in values.items():
        held(folder / f"optim.lr={rate},run.seed=1", value)
    points, _ = sweep.read(folder)
    first = sweep.best(points)
    assert first is not None
    assert first.validation is None or first.run.loss == min(point.run.loss or 0 for point in points)
    held(folder / "optim.lr=1e-4,run.seed=1", 0.4, name="val_loss")
    points, said = sweep.read(folder)
    first = sweep.best(points)
    assert said == []
    assert first is not None
    assert (first.settings["optim.lr"], first.validation) == ("0.01", 0.2)
    assert "0.2000" in "\n".join(sweep.page(points, width=None))


def test_points_are_sorted_as_numbers(folder: Path) -> None:
    points, _ = sweep.read(folder)
    assert [point.settings["optim.lr"] for point in sweep.ordered(points, by="optim.lr")] == ["1e-4", "0.001", "0.01"]
    for key in sweep.RESULTS:
        assert len(sweep.ordered(points, by=key)) == 3


def test_one_table_has_the_swept_keys_as_columns_and_marks_the_best(folder: Path) -> None:
    points, _ = sweep.read(folder)
    for width in (None, 80, 160):
        head, *lines = sweep.page(points, width=width)
        assert head.split()[:2] == ["optim.lr", "run.seed"]
        assert {"STEP", "SAMPLES", "LOSS", "STATE", "BEST"} <= set(head.split())
        assert sum("*" in line.split() for line in lines[:3]) == 1
        assert max(map(len, lines[:3])) <= (width or 1000)


def test_points_that_have_seen_other_numbers_of_samples_do_not_compare(folder: Path, make: Make) -> None:
    points, _ = sweep.read(folder)
    assert not any("do not compare" in line for line in sweep.page(points, width=None))
    make("s/optim.lr=3,run.seed=1", rows=5)
    points, _ = sweep.read(folder)
    assert any("do not compare" in line for line in sweep.page(points, width=None))


def test_a_loss_that_is_no_number_is_not_the_best(folder: Path) -> None:
    path = folder / "optim.lr=0.01,run.seed=1/metrics.csv"
    path.write_text(path.read_text().replace("0.8,", "nan,"))
    points, _ = sweep.read(folder)
    first = sweep.best(points)
    assert first is not None
    assert first.settings["optim.lr"] != "0.01"
    assert json.dumps([point.values() for point in points])


def test_points_that_have_not_begun_are_in_the_table(make: Make, tmp_path: Path) -> None:
    make("s/optim.lr=1", rows=0)
    points, _ = sweep.read(tmp_path / "s")
    assert sweep.best(points) is None
    assert "none of which has a loss yet" in sweep.page(points, width=None)[-1]
