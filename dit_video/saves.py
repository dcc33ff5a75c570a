"""What a run has saved, by the names of RUN/checkpoints/SAMPLES-STEP: it reads no tensor, and needs no torch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"(\d{12})-(\d{8})")
MANIFEST = "manifest.json"  # which is written last


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that is complete by its name, and when it was made (seconds since 1970)."""

    path: Path
    step: int
    samples_seen: int
    time: float

    @property
    def whole(self) -> bool:
        """Whether its files have the sizes of its manifest: enough to count on it, not to read it."""
        try:
            files = json.loads((self.path / MANIFEST).read_bytes())["files"]
            return all((self.path / name).stat().st_size == entry["bytes"] for name, entry in files.items())
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False


def checkpoints(run: Path) -> list[Checkpoint]:
    """The checkpoints of a run that have a manifest, the one of most samples first."""
    folder, found = run / "checkpoints", []
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            if match := NAME.fullmatch(path.name):
                time = (path / MANIFEST).stat().st_mtime
                found.append(Checkpoint(path=path, step=int(match[2]), samples_seen=int(match[1]), time=time))
        except OSError:
            continue
    return sorted(found, key=lambda item: (item.samples_seen, item.step), reverse=True)
