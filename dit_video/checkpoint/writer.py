"""Tensors into torch.distributed.checkpoint files, each hashed by the process that writes it, as it writes it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, StorageMeta, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType

from dit_video.checkpoint.pieces import Piece
from dit_video.errors import CheckpointError


def write(
    folder: Path, pieces: Sequence[Piece] | Exception, *, group: dist.ProcessGroup | None = None
) -> dict[str, dict[str, object]]:
    """Write this process's pieces into `folder` and sync them; every process of the run must call it.

    One that has an exception in their place fails with it here, so that no other waits for it. Returns the manifest's
    entries of the files of all processes, on the first of them. Where a file cannot be written on one process, all
    raise: OSError as the system said it, CheckpointError for anything else.
    """
    many = distributed()
    writer = Writer(folder)
    try:
        quiet()
        dcp.save({}, storage_writer=writer, planner=Planner(pieces), process_group=group, no_dist=not many)
    except CheckpointException as error:
        raise _cause(error) from error
    if not many:
        return writer.disk.entries
    gathered: list[Any] | None = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(writer.disk.entries, gathered, dst=0, group=group)
    return {name: entry for entries in gathered or () for name, entry in entries.items()}


def distributed() -> bool:
    """Whether several processes write and read together."""
    return dist.is_available() and dist.is_initialized()


def _cause(error: CheckpointException) -> OSError | CheckpointError:
    """What the first process that failed has met."""
    first: BaseException = error.failures[min(error.failures)][0]
    if isinstance(first, OSError):
        return OSError(first.errno, first.strerror)
    return CheckpointError(f"{type(first).__name__}: {first}".splitlines()[0])


class Planner(dcp.DefaultSavePlanner):
    """Writes pieces, which know their place in the whole."""

    def __init__(self, pieces: Sequence[Piece] | Exception) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self.pieces = pieces

    def create_local_plan(self) -> SavePlan:
        """This process's part; what is raised here is told to all."""
        if isinstance(self.pieces, Exception):
            raise self.pieces
        items = [_item(piece) for piece in self.pieces]
        self.data = {item.index: piece.data for item, piece in zip(items, self.pieces, strict=True)}
        self.plan = SavePlan(items)
        return self.plan

    def resolve_data(self, write_item: WriteItem) -> Tensor:
        """The values of an item."""
        return self.data[write_item.index]


def _item(piece: Piece) -> WriteItem:
    return WriteItem(
        index=MetadataIndex(piece.name, piece.offsets),
        type=WriteItemType.SHARD,
        tensor_data=TensorWriteData(
            chunk=ChunkStorageMetadata(offsets=piece.offsets, sizes=piece.data.shape),
            properties=TensorProperties(dtype=piece.data.dtype),
            size=piece.size,
        ),
    )


class Writer(dcp.FileSystemWriter):
    """Hashes what it writes, and keeps the path of this machine out of the index."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sync_files=True, per_thread_copy_ahead=0)
        self.fs = self.disk = Disk()

    def storage_meta(self) -> StorageMeta:
        """What the index says about the checkpoint as a whole: nothing."""
        return StorageMeta()

    def write_data(self, plan: SavePlan, planner: Any) -> Any:
        """Write this process's file; what the disk said is raised rather than what torch makes of it."""
        try:
            return super().write_data(plan, planner)
        except Exception as error:
            if self.disk.failure is not None:
                raise self.disk.failure from error
            raise


class Disk(FileSystem):
    """The file system, with entries for the manifest of all that was written through it."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, object]] = {}
        self.failure: OSError | None = None

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:  # type: ignore[override]
        """A file to write from its beginning to its end, or to read."""
        with Path(path).open(mode) as file:
            if mode != "wb":
                yield file
                return
            hashed = Hashed(file)  # type: ignore[arg-type]
            try:
                yield hashed
            except OSError as error:
                self.failure = error
                raise
            finally:
                self.failure = self.failure or hashed.failure
            self.entries[Path(path).name] = hashed.entry()

    def rename(self, path: Any, new_path: Any) -> None:
        """Rename a file; its entry goes with it."""
        super().rename(path, new_path)
        self.entries[Path(new_path).name] = self.entries.pop(Path(path).name)


class Hashed:
    """A file that is being written, and the SHA-256 of what has been."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha, self.size = file, hashlib.sha256(), 0
        self.failure: OSError | None = None
        self.tell, self.flush, self.fileno, self.close = file.tell, file.flush, file.fileno, file.close

    def write(self, data: Any) -> int:
        """Append; remembers the first failure, which torch.save hides behind one of its own."""
        try:
            self.file.write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise
        self.sha.update(data)
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes

    def entry(self) -> dict[str, object]:
        """What the manifest says about the file."""
        return {"bytes": self.size, "sha256": self.sha.hexdigest()}


def quiet() -> None:
    """The library warns that one process works alone, which is what we asked for.

    For good: filters that are set and taken back in a thread are those of all threads.
    """
    warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")
