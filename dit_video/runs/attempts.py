"""The starts of a run's jobs under SLURM, and what was decided at the end of each: see `dit_video.slurm.settle`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from dit_video.runs import files
from dit_video.runs.files import Said
from dit_video.slurm import submit
from dit_video.slurm.attempt import VERDICT

FOLDER = f"{submit.FOLDER}/attempts"
START = re.compile(r"(\d+)-(\d+)")
SHOWN = 5


def attempts(run: Path, *, said: Said, told: Collection[str] = ()) -> Iterator[str]:
    """A line for each of the newest starts but those `told` already: JOB-RESTARTS, and what was decided, of what."""
    found = [path for path in starts(run) if path.name not in told]
    for path in found[:SHOWN]:
        yield f"{path.name}: {decided(files.text_of(path / VERDICT, said=said))}"
    if len(found) > SHOWN:
        yield f"and {len(found) - SHOWN} more"


def last(run: Path, *, said: Said) -> str:
    """What was decided at the end of the newest start, "" before."""
    found = starts(run)
    verdict = files.text_of(found[0] / VERDICT, said=said) if found else None
    return decided(verdict) if verdict else ""


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
