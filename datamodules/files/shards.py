"""Members of shards by offset and size, from a local disk or any fsspec URL, each checked against the index's hash.

- A whole micro-batch is read at once: the kernel is told of all its members before the first is read; remote ones are
  asked for together, and kept in a cache where one is given.
- Few files stay open, however many shards a dataset has. A copy in another process opens its own.
- A read that takes long is reported while it still does.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.files import storage
from datamodules.files.cache import Cache, hash_like
from datamodules.files.stalls import Stalls
from datamodules.files.storage import PASSING, PATIENCE, DamagedError, MissingError, Span, Tries

OPEN = 64  # files a process keeps open


class Member(NamedTuple):
    """Bytes in a tar: its path or URL, where they are, and their hash: SHA-256 of a file, XXH3 of a part of one."""

    path: str
    offset: int
    size: int
    hash: str


class Shards:
    """Reads members of tars.

    Args:
        cache: folder in which members of remote shards are kept; none by default.
        cache_gb: most it may hold, in 10^9 bytes.
        patience: seconds for which storage that does not answer is asked again, before the run stops.
    """

    def __init__(self, *, cache: str | Path | None = None, cache_gb: float = 20.0, patience: float = PATIENCE) -> None:
        self.cache = None if cache is None else Cache(cache, gigabytes=cache_gb)
        self.patience = patience
        self.stalls = Stalls()
        self.handles: OrderedDict[str, int] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"handles": OrderedDict(), "stalls": Stalls()}

    def read(self, path: str, *, offset: int, size: int, sha256: str) -> bytes:
        """The bytes of one member; DamagedError where they are not those of the index."""
        found = self.read_all([Member(path, offset, size, sha256)])[0]
        if isinstance(found, DamagedError):
            raise found
        return found

    def read_all(self, members: Sequence[Member]) -> list[bytes | DamagedError]:
        """The bytes of each member, or its damage; StorageError where storage does not answer."""
        if not members:
            return []
        found: dict[int, bytes | DamagedError] = {}
        with self.stalls.watch(members[0].path):
            near = [at for at, member in enumerate(members) if storage.is_local(member.path)]
            if len(near) > 1:
                for at in near:
                    self._expect(members[at])
            for at in near:
                found[at] = checked(members[at], self._local(members[at]))
            if far := [at for at in range(len(members)) if at not in found]:
                found |= zip(far, self._remote([members[at] for at in far]), strict=True)
        return [found[at] for at in range(len(members))]

    def _expect(self, member: Member) -> None:
        """Let the kernel read ahead; what fails here fails again when it is read."""
        if hasattr(os, "posix_fadvise"):
            try:
                os.posix_fadvise(self._handle(member.path), member.offset, member.size, os.POSIX_FADV_WILLNEED)
            except OSError:
                return

    def _local(self, member: Member) -> bytes | DamagedError:
        """The bytes at a member's place, fewer where the file ends before."""
        tries: Tries | None = None
        while True:
            try:
                data = os.pread(self._handle(member.path), member.size, member.offset)
            except FileNotFoundError:
                return MissingError(f"{member.path}: no such file")
            except OSError as error:
                self._close(member.path)
                if error.errno not in PASSING:
                    return DamagedError(f"{member.path}: {error.strerror}")
                tries = tries or Tries(patience=self.patience)
                tries.again(member.path, error)
            else:
                if tries is not None:
                    tries.over()
                return data

    def _remote(self, members: Sequence[Member]) -> list[bytes | DamagedError]:
        """Members from the cache, else from where they are; what comes damaged is asked for once more."""
        found: dict[int, bytes | DamagedError] = {}
        if self.cache is not None:
            kept = {at: self.cache.get(member.hash) for at, member in enumerate(members)}
            found |= {at: data for at, data in kept.items() if data is not None}
        for _ in range(2):
            asked = [at for at in range(len(members)) if at not in found or isinstance(found[at], DamagedError)]
            spans = [Span(members[at].path, members[at].offset, members[at].offset + members[at].size) for at in asked]
            for at, data in zip(asked, storage.fetch(spans, patience=self.patience), strict=True):
                found[at] = sound = checked(members[at], data)
                if self.cache is not None and isinstance(sound, bytes):
                    self.cache.put(members[at].hash, sound)
        return [found[at] for at in range(len(members))]

    def _handle(self, path: str) -> int:
        """An open file; the one that was not used for longest is closed for it."""
        if path in self.handles:
            self.handles.move_to_end(path)
            return self.handles[path]
        handle = os.open(storage.local(path), os.O_RDONLY | os.O_CLOEXEC)
        self.handles[path] = handle
        if len(self.handles) > OPEN:
            self._close(next(iter(self.handles)))
        return handle

    def _close(self, path: str) -> None:
        if path in self.handles:
            os.close(self.handles.pop(path))

    def close(self) -> None:
        """Close the files; they are opened again when something is read of them."""
        for path in list(self.handles):
            self._close(path)

    def __del__(self) -> None:
        self.close()


def checked(member: Member, data: bytes | DamagedError) -> bytes | DamagedError:
    """The bytes, if they are those of the index."""
    if isinstance(data, DamagedError):
        return data
    if len(data) == member.size and hash_like(member.hash, data) == member.hash:
        return data
    where = f"{storage.shown(member.path)}: the {member.size} bytes at {member.offset}"
    if len(data) != member.size:
        return DamagedError(f"{where} end after {len(data)}")
    return DamagedError(f"{where} are not those of the index")
