"""Who holds the lock of a run's folder: asked of the kernel, without taking it.

See `dit_video.checkpoint.lock`, which takes it. A lock is the process', not the file handle's: do not call this in a
process that holds one, since closing any handle of the file lets it go.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

NAME = ".lock"
ASKED = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, process
WHO = re.compile(r"process (\d+) on (\S+)")


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A run's lock: whether it is `held` (None: the system does not tell), who took it last, and when (since 1970)."""

    held: bool | None
    process: int
    host: str
    time: float


def look(run: Path) -> Lock | None:
    """The lock of a run's folder; None where no train.py has ever taken it."""
    try:
        handle = os.open(run / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        said = WHO.search(os.read(handle, 200).decode(errors="replace"))
        process, host = (int(said[1]), said[2]) if said else (0, "")
        return Lock(held=held(handle), process=process, host=host, time=os.fstat(handle).st_mtime)
    except OSError:
        return None
    finally:
        os.close(handle)


def held(handle: int) -> bool | None:
    """Whether another process has a lock on an open file; None where this system or this mount does not say."""
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        return None
    try:
        answer = fcntl.fcntl(handle, fcntl.F_GETLK, ASKED.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return None
    return bool(ASKED.unpack(answer)[0] != fcntl.F_UNLCK)
