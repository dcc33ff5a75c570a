"""Where ranks and parent meet: a folder in memory, which is removed by the parent, or by the next one where it could
not.

Where memory is full it is a temporary folder: the ranks begin, and their pre-flight tells that this node is not fit.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "dit-video-"
LOCK = "parent"
MEMORY = Path("/dev/shm")  # tempfile makes the folder in it, for this user alone
ROOM = 2**24  # bytes that must be free in it


@contextmanager
def watch_folder() -> Iterator[Path]:
    """A folder for the heartbeats of ranks, while the block runs."""
    places = [MEMORY, Path(tempfile.gettempdir())]
    for place in places:
        sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=next(filter(roomy, places), places[-1])))
    with (folder / f".{LOCK}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (folder / f".{LOCK}").rename(folder / LOCK)  # seen by other parents when it is held, and not before
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def roomy(place: Path) -> bool:
    """Whether this user can write there, and enough."""
    return os.access(place, os.W_OK) and shutil.disk_usage(place).free >= ROOM


def sweep(place: Path) -> None:
    """Remove the folders of parents that were killed: nobody holds their lock."""
    for path in place.glob(f"{PREFIX}*/{LOCK}"):
        try:
            with path.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
        except OSError:  # it is held, or another user's
            continue


def clear(folder: Path) -> None:
    """Remove what the ranks of an earlier attempt have left."""
    for path in folder.glob("rank-*"):
        path.unlink()
