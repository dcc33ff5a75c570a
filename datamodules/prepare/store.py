"""Files of a dataset are written once and whole: a temporary name, fsync, rename, fsync of the folder.

- Tars are plain WebDataset shards (written by `tarfile`: importing webdataset costs two seconds) without times in them,
  so equal samples give equal bytes.
- A parquet table is written after the tar it describes: where it stands, the shard is finished. Its schema metadata
  carries the tar's hash and the settings it was made with.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

BLOCK = 512  # bytes of a member's header in a tar


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` if the block succeeds, and vanishes if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(data: bytes) -> str:
    """Hash of bytes, as in the indices."""
    return hashlib.sha256(data).hexdigest()


def write_tar(path: Path, samples: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, tuple[int, int]]], str]:
    """Write WebDataset samples (`__key__` and bytes by suffix) as a tar.

    Returns, one a sample, the (offset, size) of each member by its suffix; and the SHA-256 of the tar.
    """
    places = []
    with atomic(path) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                place = {}
                for suffix in sorted(set(sample) - {"__key__"}):
                    member = tarfile.TarInfo(f"{sample['__key__']}.{suffix}")
                    member.size = len(sample[suffix])
                    place[suffix] = (tar.offset + BLOCK, member.size)
                    tar.addfile(member, io.BytesIO(sample[suffix]))
                places.append(place)
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return places, digest


def write_table(
    path: Path, rows: Sequence[Mapping[str, Any]], *, schema: pyarrow.Schema, metadata: Mapping[str, str] | None = None
) -> None:
    """Write rows as parquet with `metadata` in its schema."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([dict(row) for row in rows], schema=schema)
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(table.replace_schema_metadata(dict(metadata or {})), temporary)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record as readable JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def metadata(path: Path) -> dict[str, str] | None:
    """Schema metadata of a finished table, or None where there is none."""
    import pyarrow.parquet

    if not path.is_file():
        return None
    found = pyarrow.parquet.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in found.items()}
