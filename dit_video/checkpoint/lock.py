"""One process at a time writes a run: an advisory lock on a file in its folder.

- It is a record lock (`fcntl.lockf`): the kernel releases it with the process, so kill -9 leaves nothing to clean up.
  Unlike `flock` it is not inherited by forked loader workers, which may outlive the process by seconds.
- On NFS it goes through the server's lock manager and holds between nodes; on a mount without one (`nolock`) it holds
  between the processes of a node only.
- The file stays. Its text only says who wrote last; the lock is what counts.
- A job that SLURM has started again may find it held by its own start before, on a node that SLURM has given up: by a
  process that ends when it sees the new start (`launch.shared.later`), or by a file server that has not noticed. So it
  waits, and then goes on: `folder.put` makes no checkpoint visible but of the last start of a job.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dit_video import log
from dit_video.errors import ConfigError
from dit_video.launch import shared

NAME = ".lock"
PATIENCE = 360.0  # seconds with an earlier start of this job: longer than SLURM keeps a silent node (300, if unchanged)
START = re.compile(r" of job (\S+)$")
EVERY = 1.0  # seconds between two tries
LOG = log.get("dit_video.checkpoint")


@contextmanager
def lock(folder: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Make `folder` and hold it while the context lasts; ConfigError if that cannot be, or if another process does.

    For an earlier start of the same job it waits `patience` seconds at most.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(
            f"run.dir={folder} cannot be written to ({error.strerror}); choose another run.dir"
        ) from error
    try:
        if _take(folder, handle, patience=patience):
            _sign(handle)
        yield
    finally:
        os.close(handle)


def _take(folder: Path, handle: int, *, patience: float) -> bool:
    """Lock the file; False where this mount has no locks. ConfigError where another process has it."""
    began, told = time.monotonic(), False
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
        except OSError as error:
            LOG.warning("%s cannot be locked (%s): start this run once only", folder, error)
            return False
        else:
            return True
        if not _before_us(holder):
            raise ConfigError(
                f"run.dir={folder} is in use by another train.py ({holder or 'which has just begun'}); "
                "wait for it, or choose another run.dir"
            )
        if time.monotonic() - began >= patience:
            LOG.warning(
                "%s still has %s after %.0f s; it may save no more, so this start goes on", holder, folder, patience
            )
            return True
        if not told:
            log.say(f"waiting for {holder}, an earlier start, to let go of {folder}: at most {patience:.0f} s")
            told = True
        time.sleep(EVERY)


def _before_us(holder: str) -> bool:
    """Whether the file was signed by an earlier start of the job that this process is of."""
    signed, attempt = START.search(holder), shared.of(1).attempt
    job, start = shared.split(signed[1] if signed else "")
    own, number = shared.split(attempt.name if attempt else "")
    return bool(job) and job == own and start < number


def _sign(handle: int) -> None:
    """Say whose the lock is."""
    attempt = shared.of(1).attempt
    of = f" of job {attempt.name}" if attempt is not None else ""
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}{of}\n".encode(), 0)
    os.fsync(handle)  # a network file system would keep it for itself for a while
