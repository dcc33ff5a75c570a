"""A run in the figures that a list shows: how far it is, how fast, what it has saved, and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dit_video.errors import ClusterError
from dit_video.runs import find, record, state
from dit_video.runs.files import LAST, Rows
from dit_video.runs.record import Record
from dit_video.runs.state import State
from dit_video.slurm import client
from dit_video.slurm.client import Job

READERS = 16  # at once: on a network file system each file is waited for
ANSWER = 5.0  # seconds that SLURM may take
UNITS = ("tokens", "frames")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run at one moment; times in seconds since 1970, `left` in seconds, None for what is not known.

    `rate` and `loss` are those of the last 50 steps, `unit` (tokens, frames) is what `units` a second are of.
    """

    record: Record
    state: State
    step: int | None
    samples_seen: int | None
    rate: float | None
    unit: str
    units: float | None
    loss: float | None
    left: float | None

    def values(self) -> dict[str, Any]:
        """All of it as plain values, for a machine."""
        newest = self.record.checkpoints[0] if self.record.checkpoints else None
        shown = {**asdict(newest), "path": str(newest.path)} if newest is not None else None
        return {
            "name": self.record.name,
            "path": str(self.record.path),
            "kind": self.record.kind,
            "state": self.state.word,
            "why": self.state.why,
            "hosts": self.state.hosts,
            "step": self.step,
            "samples_seen": self.samples_seen,
            "samples": self.record.samples,
            "samples_per_second": self.rate,
            f"{self.unit}_per_second": self.units,
            "loss": self.loss,
            "checkpoint": shown,
            "jobs": list(self.record.jobs),
            "seconds_left": self.left,
            "seen": self.record.seen or None,
            "restarts": len(self.record.restarts),
            "warnings": list(self.record.said),
        }


def below(folder: Path) -> tuple[list[Summary], list[str]]:
    """All runs in a folder, and lines about what could not be read or asked."""
    paths = list(find.runs(folder))
    return of(paths, names=[str(path.relative_to(folder)) if path != folder else path.name for path in paths])


def of(paths: Sequence[Path], *, names: Sequence[str], whole: bool = False) -> tuple[list[Summary], list[str]]:
    """These runs, and lines about what could not be read or asked."""
    with ThreadPoolExecutor(READERS) as threads:
        records = list(threads.map(lambda path, name: record.read(path, name=name, whole=whole), paths, names))
    jobs, said = known(records)
    now = time.time()
    found = [summary(item, jobs=jobs, now=now) for item in records]
    return found, [*(line for item in records for line in item.said), *said]


def known(records: Sequence[Record]) -> tuple[dict[str, Job], list[str]]:
    """What SLURM knows of the jobs of runs, by number; and a line where it cannot be asked."""
    ids = {name for item in records for name in item.jobs}
    if not ids:
        return {}, []
    try:
        return {job.id: job for job in client.jobs(ids, seconds=ANSWER)}, []
    except ClusterError as error:
        return {}, [f"states are those of the folders alone: {error}"]


def summary(item: Record, *, jobs: Mapping[str, Job], now: float) -> Summary:
    """A run in figures."""
    found = state.judge(item, jobs=jobs, now=now)
    step, seen = place(item, found)
    samples, unit, units = rates(item.rows)
    losses = item.rows.column("loss")[-LAST:]
    going = found.word == "running" and samples and item.samples is not None and seen is not None
    return Summary(
        record=item,
        state=found,
        step=step,
        samples_seen=seen,
        rate=samples,
        unit=unit,
        units=units,
        loss=sum(losses) / len(losses) if losses else None,
        left=max(item.samples - seen, 0) / samples if going and item.samples and seen is not None and samples else None,
    )


def place(item: Record, found: State) -> tuple[int | None, int | None]:
    """Step and samples seen: of a run that starts, where it goes on; else by its last row, else its last word."""
    own, last = item.sign, item.rows.steps[-1] if item.rows.steps else None
    if own is not None and found.word == "running" and not found.started:
        return own.step, own.samples_seen
    if last is not None and "samples_seen" in last:
        return int(last["step"]), int(last["samples_seen"])
    if own is not None:
        return own.step, own.samples_seen
    if item.checkpoints:
        return item.checkpoints[0].step, item.checkpoints[0].samples_seen
    return None, None


def rates(rows: Rows) -> tuple[float | None, str, float | None]:
    """Samples a second over the last steps, all waiting included; and tokens or frames a second."""
    steps = rows.steps[-LAST:]
    timed = [row for row in steps if "seconds" in row and "samples_seen" in row]
    unit = next((name for name in UNITS if any(f"{name}_per_second" in row for row in steps)), UNITS[0])
    counted = [row for row in timed if f"{unit}_per_second" in row]
    spent, all_spent = sum(row["seconds"] for row in timed[1:]), sum(row["seconds"] for row in counted)
    samples = (timed[-1]["samples_seen"] - timed[0]["samples_seen"]) / spent if spent > 0 else None
    done = sum(row[f"{unit}_per_second"] * row["seconds"] for row in counted)
    return samples, unit, done / all_spent if all_spent > 0 else None
