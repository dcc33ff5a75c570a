"""A rank's sign of life: a thread counts up twice a second, the main thread marks what it is doing, others read it.

- They are counters in a file that is mapped into memory, without a clock: the reader knows when it saw them change, so
  that a machine that was suspended as a whole looks no different from one that was not.
- A count that stands still means that no Python runs: the process is stopped, or something holds the GIL. Marks that
  stand still while the count goes on mean that the main thread waits for something.
- SIGUSR2 makes the process write the stacks of all its threads into the folder. That runs in C, under a held GIL too.
- In a process without `DIT_VIDEO_WATCH` nothing here does anything.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

WATCH, RANK = "DIT_VIDEO_WATCH", "DIT_VIDEO_RANK"
PHASES = ("start", "data", "step", "save", "show", "failed", "end")
FIELDS = struct.Struct("<5Q")
EVERY = 0.5  # seconds


class Beat(NamedTuple):
    """What a rank last wrote: two counters, what it does, in which step (from 1), and how many it has completed."""

    beats: int = 0
    marks: int = 0
    phase: str = "start"
    step: int = 0
    done: int = 0


BEGINNING = Beat()


def beat_file(folder: Path, rank: int) -> Path:
    """Where the rank writes."""
    return folder / f"rank-{rank}.beat"


def stack_file(folder: Path, rank: int) -> Path:
    """Where the rank's stacks go, asked for or fatal."""
    return folder / f"rank-{rank}.stack"


def read(path: Path) -> Beat:
    """What the rank of this file last wrote; zeros before it has begun."""
    data = path.read_bytes() if path.is_file() else b""
    if len(data) < FIELDS.size:
        return Beat()
    beats, marks, phase, step, done = FIELDS.unpack_from(data)
    return Beat(beats, marks, PHASES[min(phase, len(PHASES) - 1)], step, done)


class Heartbeat:
    """Writes the beat of this process into `folder`, as that of `rank`."""

    def __init__(self, folder: Path, *, rank: int) -> None:
        self.folder, self.rank = folder, rank
        path = beat_file(folder, rank)
        path.write_bytes(bytes(FIELDS.size))
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), FIELDS.size)
        self.stacks: TextIO = stack_file(folder, rank).open("a", encoding="utf-8")
        self.phase = "start"
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.beat, name="heartbeat", daemon=True)

    def begin(self) -> None:
        """Beat from now on, and show the stacks when asked, or when the process crashes."""
        faulthandler.enable(file=self.stacks, all_threads=True)
        faulthandler.register(signal.SIGUSR2, file=self.stacks, all_threads=True)
        self.thread.start()

    def beat(self) -> None:
        """In the thread."""
        self.add(0)
        while not self.ended.wait(EVERY):
            self.add(0)

    def mark(self, phase: str, step: int | None = None) -> None:
        """Say what the main thread does from here on, and in which step."""
        self.phase = phase
        self.put(2, PHASES.index(phase))
        if step is not None:
            self.put(3, step)
        self.add(1)

    def completed(self, step: int) -> None:
        """Say that a step is complete."""
        self.put(3, step)
        self.add(4)

    def put(self, field: int, value: int) -> None:
        """Write one of the fields."""
        struct.pack_into("<Q", self.memory, 8 * field, value)

    def add(self, field: int) -> None:
        """Count one of the fields up."""
        self.put(field, struct.unpack_from("<Q", self.memory, 8 * field)[0] + 1)

    def step(self) -> int:
        """The step it is in."""
        return int(struct.unpack_from("<Q", self.memory, 8 * 3)[0])


_OWN: list[Heartbeat] = []  # that of this process, if it is watched


def begin() -> None:
    """Begin to beat where a parent watches: once, as early as possible."""
    if WATCH in os.environ and not _OWN:
        _OWN.append(Heartbeat(Path(os.environ[WATCH]), rank=int(os.environ.get(RANK, "0"))))
        _OWN[0].begin()


def own() -> Heartbeat | None:
    """The heartbeat of this process, if it is watched."""
    return _OWN[0] if _OWN else None


def mark(phase: str, step: int | None = None) -> None:
    """Say what this process does from here on: "start", "data", "step", "save" or "show"."""
    if heart := own():
        heart.mark(phase, step)


def completed(step: int) -> None:
    """Say that this process has completed a step."""
    if heart := own():
        heart.completed(step)


@contextmanager
def within(phase: str) -> Iterator[None]:
    """Mark what is done within the block, and then what was done before it."""
    heart = own()
    before = heart.phase if heart else ""
    mark(phase)
    try:
        yield
    finally:
        if heart:
            heart.mark(before)
