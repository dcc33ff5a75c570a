"""Files of a dataset are written once and whole: a temporary name, fsync, rename, fsync of the folder.

- Who makes a shard holds a lock beside it, so that processes of one job do not make the same. It is a record lock
  (`fcntl.lockf`), released by the kernel with its process and not inherited by forked workers; where a file system has
  none, work may be done twice, and the files are whole all the same.
- Tars are plain WebDataset shards (written by `tarfile`: importing webdataset costs two seconds) without times in them,
  so equal samples give equal bytes.
- A parquet table is written after the tar it describes: where it stands, the shard is finished. Its schema metadata
  carries the tar's hash and the settings it was made with.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video import log
from dit_video.errors import ConfigError, DataError
from dit_video.signals import REQUEUE
from dit_video.slurm.submit import inside

if TYPE_CHECKING:
    import pyarrow

FINGERPRINT = "dataset_fingerprint"  # of what a sidecar was made for, in its recipe.json or the metadata of its tables
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
BLOCK = 512  # bytes of a member's header in a tar


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` if the block succeeds, and vanishes if it does not.

    DataError where the disk is full, or refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")  # ids repeat between nodes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.errno in REFUSED and error.filename in {str(temporary), str(path.parent), str(path)}:
            raise DataError(f"{path.parent} cannot be written to: {error.strerror}") from error
        if error.errno not in FULL:
            raise
        raise DataError(f"no room for {path}: {error.strerror}; make room, and the same command goes on") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Claim:
    """A file that this process alone is making."""

    path: Path
    handle: int

    def release(self) -> None:
        """Let others have it."""
        self.path.unlink(missing_ok=True)
        os.close(self.handle)


def claim(path: Path, *, wait: bool = False) -> Claim | None:
    """Claim the making of `path`; None where another process has it, unless one is to `wait` for that."""
    place = path.with_name(f".{path.name}.lock")
    while True:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataError(f"{path.parent} cannot be written to: {error.strerror}") from error
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            return None
        except OSError as error:
            log.get("dit_video.datamodules").warning("%s cannot be locked: %s", path.parent, error.strerror)
            return Claim(place, handle)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), place.stat()):
                for left in path.parent.glob(f".{path.stem}.*.tmp"):  # of one that was killed: no other makes them now
                    left.unlink(missing_ok=True)
                return Claim(place, handle)
        os.close(handle)  # who had it removed it meanwhile


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time does the block for `path`; others wait."""
    held = claim(path, wait=True)
    try:
        yield
    finally:
        if held is not None:
            held.release()


def share(part: str | None, shards: Sequence[int]) -> list[int]:
    """The shards of part "i/n" of a job, those with number % n == i; all where there is no part.

    ConfigError for what is no part.
    """
    if part is None:
        return list(shards)
    matched = re.fullmatch(r"(\d+)/(\d+)", part)
    if matched is None or int(matched[1]) >= int(matched[2]):
        raise ConfigError(f"part={part} must be i/n with i below n, such as part=0/4 to part=3/4")
    return [shard for shard in shards if shard % int(matched[2]) == int(matched[1])]


def standing(folder: Path) -> set[int]:
    """Numbers of the shards of which a folder has the table: they are finished."""
    with suppress(FileNotFoundError):
        return {int(entry.name[:-8]) for entry in os.scandir(folder) if re.fullmatch(r"\d{6,}\.parquet", entry.name)}
    return set()


def begin_again() -> None:
    """Some shards are in the hands of another process: an element of an array goes back into the queue for them."""
    if inside():
        raise SystemExit(REQUEUE)


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
        about = dict(metadata or {})
        pyarrow.parquet.write_table(table.replace_schema_metadata(about), temporary, write_page_checksum=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record as readable JSON."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def agree(path: Path, recipe: Mapping[str, Any], *, skip: Sequence[str] = (), words: Mapping[str, str]) -> None:
    """Write the recipe of a sidecar, or hold it against the one that stands; ConfigError for what differs.

    Args:
        path: recipe.json.
        recipe: what the sidecar is made with.
        skip: keys that may differ.
        words: what is said of a key that differs, instead of both values.
    """
    with alone(path):
        if not path.is_file():
            write_json(path, recipe)
            return
    hold(path, recipe, skip=skip, words=words)


def hold(
    path: Path, recipe: Mapping[str, Any], *, skip: Sequence[str] = (), words: Mapping[str, str] | None = None
) -> None:
    """Hold entries of a recipe against the one that stands, if one does; as `agree`."""
    if not path.is_file():
        return
    try:
        saved = dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; delete {path.parent}, or choose another name=NAME") from error
    for key in sorted(set(recipe) - set(skip)):
        if saved.get(key, recipe[key] if key == FINGERPRINT else None) != recipe[key]:
            what = (words or {}).get(key, f"{key}={recipe[key]} was {saved.get(key)}")
            raise ConfigError(f"{path.parent} was made otherwise: {what}; choose another name=NAME, or delete it")


def metadata(path: Path) -> dict[str, str] | None:
    """Schema metadata of a finished table, or None where there is none."""
    import pyarrow.parquet

    if not path.is_file():
        return None
    found = pyarrow.parquet.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in found.items()}
