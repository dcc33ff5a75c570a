"""The starts of a run's jobs under SLURM, and what was decided at the end of each: see `dit_video.slurm.settle`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from dit_video import signals
from dit_video.runs import files
from dit_video.runs.files import Said
from dit_video.slurm import submit
from dit_video.slurm.attempt import VERDICT

FOLDER = f"{submit.FOLDER}/attempts"
START = re.compile(r"(\d+)-(\d+)")
ORDER = re.compile(r"(exit|requeue) (\d+)")
NO_FAILURE = frozenset({0, signals.REQUEUE, signals.INTERRUPTED})
SHOWN = 5


def attempts(run: Path, *, said: Said, told: Collection[str] = ()) -> Iterator[str]:
    """A line for each of the newest starts but those `told` already: JOB-RESTARTS, and what was decided, of what."""
    found = [path for path in starts(run) if path.name not in told]
    for path in found[:SHOWN]:
        yield f"{path.name}: {decided(files.text_of(path / VERDICT, said=said))}"
    if len(found) > SHOWN:
        yield f"and {len(found) - SHOWN} more"


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What was decided at the end of a start of `job`: when (since 1970), why, whether it ends, and by a failure."""

    job: str
    time: float
    why: str
    ends: bool
    failed: bool


def last(run: Path, *, said: Said) -> Settled | None:
    """What was decided at the end of the newest start; None before, and where it cannot be read."""
    found = starts(run)
    text = files.text_of(found[0] / VERDICT, said=said) if found else None
    if not text or (order := ORDER.match(text)) is None:
        return None
    ends, code = order[1] == "exit", int(order[2])
    return Settled(
        job=found[0].name.partition("-")[0],
        time=(found[0] / VERDICT).stat().st_mtime,
        why=decided(text),
        ends=ends,
        failed=ends and code not in NO_FAILURE,
    )


def starts(run: Path) -> list[Path]:
    """The folders of all starts, the newest first."""
    folder = run / FOLDER
    found = [path for path in folder.iterdir() if START.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=number, reverse=True)


def number(path: Path) -> tuple[int, ...]:
    """Job and start, as numbers."""
    return tuple(int(part) for part in path.name.split("-"))


def decided(verdict: str | None) -> str:
    """A verdict in words; there is none while the job runs, and none of a start that was cut off."""
    order, _, why = (verdict or "").strip().partition("\n")
    if not order:
        return "no verdict: it runs, was cut off, or was cancelled"
    return why.strip() or order
