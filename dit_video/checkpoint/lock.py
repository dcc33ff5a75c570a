"""One process at a time writes a run: an advisory lock on a file in its folder.

- It is a record lock (`fcntl.lockf`): the kernel releases it with the process, so kill -9 leaves nothing to clean up.
  Unlike `flock` it is not inherited by forked loader workers, which may outlive the process by seconds.
- On NFS it goes through the server's lock manager and holds between nodes; on a mount without one (`nolock`) it holds
  between the processes of a node only.
- The file stays. Its text only says who wrote last; the lock is what counts.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dit_video import log
from dit_video.errors import ConfigError

NAME = ".lock"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Make `folder` and hold it while the context lasts; ConfigError if that cannot be, or if another process does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
            f"run.dir={folder} cannot be written to ({error.strerror}); choose another run.dir"
        ) from error
    try:
        _take(folder, handle)
        yield
    finally:
        os.close(handle)


def _take(folder: Path, handle: int) -> None:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = os.read(handle, 200).decode(errors="replace").strip()
        raise ConfigError(
            f"run.dir={folder} is in use by another train.py ({holder or 'which has just begun'}); "
            "wait for it, or choose another run.dir"
        ) from None
    except OSError as error:
        log.get("dit_video.checkpoint").warning("%s cannot be locked (%s): start this run once only", folder, error)
        return
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
