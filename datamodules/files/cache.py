"""Bytes kept on a local disk by their hash, so that remote members cross the network once: bounded, shared, checked.

- DIR/ab/abcd...: a file is written beside and renamed; what is read is hashed, and thrown away where it differs.
- The room taken is counted in DIR/.bytes, under a lock, before a file gets its name: processes together stay within the
  bound, plus what each is writing. When it is full, the files not read for longest make room, a tenth at a time.
- A disk that is full or refuses turns the cache off in this process, with one line. It never stops a run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xxhash import xxh3_128_hexdigest

from dit_video import log
from dit_video.errors import ConfigError

HASH = re.compile("[0-9a-f]{64}|[0-9a-f]{32}")  # SHA-256 or XXH3 of 128 bits
SHORT = 32  # digits of the latter
BLOCK = 4096  # bytes a file takes at least
KEPT = 0.9  # share of the bound that is left after making room
PATIENCE = 2.0  # seconds for which the lock is waited for; then the bytes are not kept
ABANDONED = 600.0  # seconds after which an unfinished file is nobody's


class Cache:
    """Files by their hash in a folder that several processes share.

    Args:
        folder: where they are kept; made if it is not there.
        gigabytes: most it may hold, in 10^9 bytes.
    """

    def __init__(self, folder: str | Path, *, gigabytes: float) -> None:
        if gigabytes <= 0:
            raise ConfigError(f"datamodules.cache_gb={gigabytes:g} must be above 0; datamodules.cache=null is no cache")
        self.folder, self.bound, self.on = Path(folder), round(gigabytes * 1e9), True

    def get(self, name: str) -> bytes | None:
        """The bytes of that hash, or None where they are not kept."""
        if not self.on or not HASH.fullmatch(name):  # an index may say anything, a path of yours too
            return None
        path = self._path(name)
        try:
            data = path.read_bytes()
            if hash_like(name, data) == name:
                with suppress(OSError):
                    os.utime(path)
                return data
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._off(error)
        return None

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes of that hash, if they have room at all."""
        if not self.on or not HASH.fullmatch(name) or taken(len(data)) > self.bound:
            return
        path = self._path(name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                return
            temporary.write_bytes(data)
            with self._locked() as count:
                if count is not None and not path.exists():
                    self._reserve(count, taken(len(data)))
                    temporary.replace(path)
        except OSError as error:
            self._off(error)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _off(self, error: OSError) -> None:
        self.on = False
        text = "the cache %s is off (%s); members are read from their storage"
        log.get("dit_video.datamodules").warning(text, self.folder, error.strerror)

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """The open file that holds the count, locked; None where another process keeps it for long."""
        handle = os.open(self.folder / ".bytes", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        until = time.monotonic() + PATIENCE
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > until:
                        yield None
                        return
                    time.sleep(0.002)
                else:
                    yield handle
                    return
        finally:
            os.close(handle)

    def _reserve(self, count: int, size: int) -> None:
        """Add `size` to the count, and make room for it first where it is full; only under the lock."""
        text = os.pread(count, 20, 0)
        total = int(text) if text.isdigit() else self._make_room(size)
        if total + size > self.bound:
            total = self._make_room(size)
        os.pwrite(count, b"%020d" % (total + size), 0)

    def _make_room(self, size: int) -> int:
        """Count what is there; where `size` does not fit too, remove what was not read for longest. Bytes that stay."""
        files = []
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):
                about = path.stat()
                if path.suffix != ".tmp":
                    files.append((about.st_mtime_ns, taken(about.st_size), path))
                elif time.time() - about.st_mtime > ABANDONED:
                    path.unlink()
        total = sum(bytes_ for _, bytes_, _ in files)
        if total + size <= self.bound:
            return total
        most = min(int(KEPT * self.bound), self.bound - size)
        for _, bytes_, path in sorted(files):
            if total <= most:
                break
            path.unlink(missing_ok=True)
            total -= bytes_
        return total


def hash_like(name: str, data: bytes) -> str:
    """The hash of bytes, of the same kind as the hash `name`."""
    return xxh3_128_hexdigest(data) if len(name) == SHORT else hashlib.sha256(data).hexdigest()


def taken(size: int) -> int:
    """Bytes of disk that a file of `size` bytes takes."""
    return -(-size // BLOCK) * BLOCK
