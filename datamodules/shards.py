"""Members of shards by offset and size, from a local disk or any fsspec URL, each checked against the index's hash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from dit_video.errors import DataError


class DamagedError(DataError):
    """A member whose bytes are missing or differ from the index; its place in the order is kept, with weight 0."""


class Shards:
    """Reads members of the tars in a folder. Holds open files; a copy in another process opens its own.

    Args:
        folder: where 000000.tar and its like stand: a path, or a URL that fsspec knows.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = str(folder)
        self.open: dict[int, int] = {}

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "open": {}}

    def read(self, shard: int, *, offset: int, size: int, sha256: str) -> bytes:
        """The bytes of one member; DamagedError where they are not those of the index."""
        try:
            data = self._read(shard, offset, size)
        except OSError as error:
            raise DamagedError(f"{self.folder}/{shard:06d}.tar: {error}") from error
        if len(data) != size or hashlib.sha256(data).hexdigest() != sha256:
            raise DamagedError(f"{self.folder}/{shard:06d}.tar: {size} bytes at {offset} are not those of the index")
        return data

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        path = f"{self.folder}/{shard:06d}.tar"
        if "://" in path:
            import fsspec

            filesystem, place = fsspec.core.url_to_fs(path)
            return bytes(filesystem.cat_file(place, start=offset, end=offset + size))
        if shard not in self.open:
            self.open[shard] = os.open(path, os.O_RDONLY)
        return os.pread(self.open[shard], size, offset)

    def close(self) -> None:
        """Close the files."""
        for handle in self.open.values():
            os.close(handle)
        self.open.clear()
