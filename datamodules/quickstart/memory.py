"""How much memory a command takes: that of its process and of all that come of it, asked once a second.

Linux counts a page that several processes share in equal parts (proportional set size), so the sum over the tree is
what the machine must hold. Elsewhere nothing is measured.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

PROC = Path("/proc")
EVERY = 1.0  # seconds


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for place in PROC.glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(place.parent.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def held(process: int) -> int:
    """Bytes that a process holds, shared pages in proportion; 0 where that cannot be known."""
    try:
        lines = (PROC / str(process) / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


class Watch:
    """Measures this process and its descendants while it is entered; `peak` is the most bytes they held together."""

    def __init__(self) -> None:
        self.peak = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self) -> None:
        """Measure until told to stop, and once more at the end."""
        while True:
            self.peak = max(self.peak, sum(map(held, family(os.getpid()))))
            if self.over.wait(EVERY):
                return

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()
