"""A sweep as one table of results: the settings in which its runs differ, and what came of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_video.runs import find, summary, text
from dit_video.runs.summary import Summary
from dit_video.runs.text import Column

VALIDATION = ("val_loss_ema", "val_loss")
RESULTS = ("step", "samples", "loss", "val_loss", "state")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run of a sweep: the settings that are its own, its validation loss if it has one, and all else of it."""

    settings: dict[str, str]
    validation: float | None
    run: Summary

    @property
    def result(self) -> float | None:
        """What it is judged by: the loss on clips that were held out, else that of training."""
        return self.validation if self.validation is not None else self.run.loss

    def values(self) -> dict[str, Any]:
        """All of it as plain values, for a machine."""
        return {"settings": self.settings, **self.run.values(), "val_loss": self.validation}


def read(folder: Path) -> tuple[list[Point], list[str]]:
    """The points of a sweep, and lines about what could not be read or asked."""
    paths = find.points(folder)
    found, said = summary.of(paths, names=[path.name for path in paths], whole=True)
    points = [
        Point(settings=find.settings(run.record.path.name), validation=run.record.rows.last(*VALIDATION), run=run)
        for run in found
    ]
    return points, said


def keys(points: Sequence[Point]) -> list[str]:
    """The settings that any point is named by, in their order."""
    return list(dict.fromkeys(key for point in points for key in point.settings))


def best(points: Sequence[Point]) -> Point | None:
    """The point of the lowest loss, on held-out clips where all have been held against those; None without a loss."""
    held = all(point.validation is not None for point in points)
    values = [(point.validation if held else point.run.loss, at) for at, point in enumerate(points)]
    known = [(value, at) for value, at in values if value is not None and value == value]  # noqa: PLR0124 - not NaN
    return points[min(known)[1]] if known else None


def ordered(points: Sequence[Point], *, by: str) -> list[Point]:
    """Points in the order of a swept key or of one of `RESULTS`; those without a figure come last."""

    def value(point: Point) -> tuple[bool, bool, float, str]:
        results = {
            "step": point.run.step,
            "samples": point.run.samples_seen,
            "loss": point.run.loss,
            "val_loss": point.validation,
            "state": point.run.state.word,
        }
        found = point.settings.get(by, results.get(by))
        number = as_number(found)
        return found is None, number is None, number or 0.0, str(found)

    return sorted(points, key=value)


def as_number(value: object) -> float | None:
    """A value as a number, if it is one."""
    try:
        return float(str(value))
    except ValueError:
        return None


def page(points: Sequence[Point], *, width: int | None) -> list[str]:
    """The table, with the best marked, and a word where points cannot be compared yet."""
    first = best(points)
    swept = [
        Column(head=key, cells=[point.settings.get(key, "") for point in points], right=True) for key in keys(points)
    ]
    unit = next((point.run.unit for point in points), "tokens")
    columns = [
        *swept,
        Column(head="STEP", cells=[text.count(point.run.step) for point in points], right=True),
        Column(head="SAMPLES", cells=[text.count(point.run.samples_seen) for point in points], right=True),
        Column(head="LOSS", cells=[text.figure(point.run.loss) for point in points], rank=1, right=True),
        Column(head="VAL LOSS", cells=[text.figure(point.validation) for point in points], rank=2, right=True),
        Column(head="BEST", cells=["*" if point is first else "" for point in points]),
        Column(head="STATE", cells=[point.run.state.word for point in points]),
        Column(head="SAMPLES/S", cells=[text.rate(point.run.rate) for point in points], rank=4, right=True),
        Column(head=f"{unit.upper()}/S", cells=[text.rate(point.run.units) for point in points], rank=5, right=True),
        Column(
            head="JOB", cells=[point.run.record.jobs[-1] if point.run.record.jobs else "" for point in points], rank=3
        ),
        Column(head="WHY", cells=[point.run.state.why for point in points], rank=6, least=20),
    ]
    return [*text.table(columns, width=width), "", *remarks(points, first)]


def remarks(points: Sequence[Point], first: Point | None) -> list[str]:
    """What the mark means, and what it does not."""
    if first is None:
        return [f"{len(points)} run(s), none of which has a loss yet"]
    held = all(point.validation is not None for point in points)
    what = "loss on held-out clips" if held else "training loss, the mean of the last 50 steps"
    lines = [f"* the lowest {what}: {first.run.record.name}"]
    if len({point.run.samples_seen for point in points}) > 1:
        lines.append("the runs have seen different numbers of samples, so their losses do not compare yet")
    return lines
