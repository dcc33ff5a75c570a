"""Where ranks and parent meet: a folder in memory, which is removed by the parent, or by the next one where it could
not.
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


@contextmanager
def watch_folder() -> Iterator[Path]:
    """A folder for the heartbeats of ranks, while the block runs."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    with (folder / f".{LOCK}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (folder / f".{LOCK}").rename(folder / LOCK)  # seen by other parents when it is held, and not before
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


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
