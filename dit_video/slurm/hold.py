"""One submission of a job at a time: its folder is made and held, and is gone again if nothing came of it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from dit_video.errors import ConfigError

NAME = ".lock"
PATIENCE = 60.0  # seconds to wait for another submission, which takes two or three
EVERY = 0.2  # seconds between two tries
BUSY = frozenset({errno.EACCES, errno.EAGAIN})


@contextmanager
def held(folder: Path, *, key: str, patience: float = PATIENCE) -> Iterator[None]:
    """Make `folder`, which the setting `key` names, and hold it while the context lasts.

    ConfigError where it cannot be made, or another process holds it for `patience` seconds.
    """
    made, handle = list[Path](), None
    try:
        with writing(folder, key=key):
            made = missing(folder)
            handle = _take(folder, patience=patience)
        yield
    finally:
        with suppress(OSError):
            if all(path.name == NAME for path in folder.iterdir()):
                (folder / NAME).unlink(missing_ok=True)
        leave(made)
        if handle is not None:
            os.close(handle)


@contextmanager
def writing(folder: Path, *, key: str) -> Iterator[None]:
    """Turn what goes wrong while something is written into `folder` into one line: a ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{key}: {folder} cannot be written to ({error.strerror}); make room there, or choose another {key}"
        ) from None


def missing(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, the deepest first."""
    return list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))


def leave(made: list[Path]) -> None:
    """Remove folders that were made, unless there is something in them by now."""
    for folder in made:
        with suppress(OSError):
            folder.rmdir()


def _take(folder: Path, *, patience: float) -> int:
    """The open file whose lock is taken; where a mount has no locks, it is not."""
    end = time.monotonic() + patience
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another has removed the folder meanwhile
            handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if _locked(handle, folder / NAME):
                return handle
            os.close(handle)
        if time.monotonic() > end:
            raise ConfigError(f"{folder} is being submitted by another process; try again when that has ended")
        time.sleep(EVERY)


def _locked(handle: int, path: Path) -> bool:
    """Whether the lock is ours, of the file that still has this name."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in BUSY
    return path.exists() and os.path.samestat(os.fstat(handle), path.stat())
