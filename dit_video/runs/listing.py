"""Runs as a table, a line each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from dit_video.runs import text
from dit_video.runs.record import Record
from dit_video.runs.summary import Summary
from dit_video.runs.text import Column

SORTS = ("name", "kind", "state", "step", "samples", "rate", "loss", "checkpoint", "left", "seen")


def page(runs: Sequence[Summary], *, width: int | None) -> list[str]:
    """The table, and how many runs are in which state."""
    if not runs:
        return []
    now = time.time()
    rates = [f"{text.rate(run.units)} {run.unit}/s" if run.units is not None else "" for run in runs]
    columns = [
        Column(head="RUN", cells=[run.record.name for run in runs], least=28, end=True),
        Column(head="KIND", cells=[run.record.kind for run in runs], rank=9),
        Column(head="STATE", cells=[run.state.word for run in runs]),
        Column(head="STEP", cells=[text.count(run.step) for run in runs], rank=7, right=True),
        Column(head="SAMPLES", cells=[samples(run) for run in runs], rank=1, right=True),
        Column(head="LOSS", cells=[text.figure(run.loss) for run in runs], rank=2, right=True),
        Column(head="SAMPLES/S", cells=[text.rate(run.rate) for run in runs], rank=5, right=True),
        Column(head="THROUGHPUT", cells=rates, rank=10, right=True),
        Column(head="CHECKPOINT", cells=[saved(run.record, now=now) for run in runs], rank=4, right=True),
        Column(head="LEFT", cells=[text.span(run.left) if run.left is not None else "" for run in runs], rank=3),
        Column(head="SEEN", cells=[text.age(now - run.record.seen) if run.record.seen else "" for run in runs], rank=8),
        Column(head="JOBS", cells=[jobs(run.record) for run in runs], rank=6),
        Column(head="ON", cells=[run.state.hosts for run in runs], rank=11, least=12),
        Column(head="WHY", cells=[run.state.why for run in runs], rank=12, least=20),
    ]
    counts = Counter(run.state.word for run in runs)
    total = ", ".join(f"{number} {word}" for word, number in counts.most_common())
    return [*text.table(columns, width=width), "", f"{len(runs)} run(s): {total}"]


def samples(run: Summary) -> str:
    """Samples seen, of how many."""
    whole = text.count(run.record.samples) or "?"
    return f"{text.count(run.samples_seen or 0)}/{whole}"


def saved(run: Record, *, now: float) -> str:
    """Step and age of the newest checkpoint."""
    newest = run.checkpoints[0] if run.checkpoints else None
    return f"{text.count(newest.step)}, {text.age(now - newest.time)} ago" if newest is not None else "none"


def jobs(run: Record) -> str:
    """The newest job, and how many there were before it."""
    *before, last = run.jobs or ("",)
    return f"{last} (+{len(before)})" if before else last


def ordered(runs: Sequence[Summary], *, by: str) -> list[Summary]:
    """Runs in the order of a column of `SORTS`; those without a figure come last, and times go from the newest."""
    values = {
        "name": lambda run: run.record.name,
        "kind": lambda run: run.record.kind or None,
        "state": lambda run: run.state.word,
        "step": lambda run: run.step,
        "samples": lambda run: run.samples_seen,
        "rate": lambda run: run.rate,
        "loss": lambda run: run.loss,
        "checkpoint": lambda run: -run.record.checkpoints[0].time if run.record.checkpoints else None,
        "left": lambda run: run.left,
        "seen": lambda run: -run.record.seen or None,
    }
    known = [run for run in runs if values[by](run) is not None]
    return sorted(known, key=values[by]) + [run for run in runs if values[by](run) is None]
