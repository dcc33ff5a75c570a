"""The starts of a run's jobs under SLURM: how the ranks of each ended, and what was decided."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dit_video.runs import files
from dit_video.runs.files import Said

FOLDER = "slurm/attempts"
START = re.compile(r"(\d+)-(\d+)")
SHOWN = 5


def attempts(run: Path, *, said: Said) -> Iterator[str]:
    """A line for each of the newest starts: `12-1: requeued (exit code 75); rank 0 on node1 ...`."""
    folder = run / FOLDER
    found = [path for path in folder.iterdir() if START.fullmatch(path.name)] if folder.is_dir() else []
    for path in sorted(found, key=number, reverse=True)[:SHOWN]:
        ranks = [files.one(item, said=said) for item in path.glob("rank-*.json")]
        yield f"{path.name}: {decided(files.text_of(path / 'verdict', said=said))}{why(ranks)}"
    if len(found) > SHOWN:
        yield f"and {len(found) - SHOWN} more"


def number(path: Path) -> tuple[int, ...]:
    """Job and start, as numbers."""
    return tuple(int(part) for part in path.name.split("-"))


def decided(verdict: str | None) -> str:
    """A verdict in words; there is none while the job runs, and none of a start that was cut off."""
    words = (verdict or "").split()
    if len(words) < 2:
        return "no verdict: it runs, or was cut off"
    if words[0] != "requeue":
        return "done" if words[1] == "0" else f"ended, exit code {words[1]}"
    wait = f", {words[2]} s later" if len(words) > 2 and words[2] != "0" else ""
    without = f", without {words[3]}" if len(words) > 3 else ""
    return f"requeued{wait}{without}"


def why(ranks: list[dict[str, Any]]) -> str:
    """The ranks that failed, the first one first."""
    bad = [rank for rank in ranks if rank.get("kind") not in {None, "done", "stop", "consequence"}]
    first = min(bad, key=lambda rank: float(rank.get("time") or 0), default=None)
    if first is None:
        return ""
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    host = f" on {first['host']}" if first.get("host") else ""
    return f"; rank {first.get('rank', '?')}{host} {first.get('text', '')}{more}"
