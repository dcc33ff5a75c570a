"""Tensors from torch.distributed.checkpoint files; each process reads what it holds, and no more.

Stricter than the library: the index of tensors is unpickled by a list of allowed names (the library would run what it
holds), nothing but tensors is read, and a checkpoint of another model is an error that names the first difference.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata

from dit_video import log
from dit_video.checkpoint import manifest
from dit_video.checkpoint.manifest import Progress
from dit_video.checkpoint.state import State, flat
from dit_video.checkpoint.writer import distributed, quiet
from dit_video.errors import CheckpointError
from dit_video.parallel import agree

OPTIONAL = "guard."  # what callbacks keep beside the model: it may be of another setting, or not there
CLASSES = {
    "torch.distributed.checkpoint.metadata": {
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
}


def load(path: Path, state: State, *, verified: bool = False) -> Progress:
    """Read a checkpoint into the tensors of `state`, in place; returns where the run stood.

    Every process of the run must call it; `verified` says that `latest` has just found it sound. The part `guard` is
    read where both have it. Raises CheckpointError on all processes if the folder is damaged, or holds other names,
    shapes or types than `state`.
    """
    problem: CheckpointError | None = None
    try:
        _load(path, flat(state), verified=verified)
    except (CheckpointError, OSError) as error:
        problem = error if isinstance(error, CheckpointError) else CheckpointError(f"{path} cannot be read: {error}")
    if any(agree.highest([int(problem is not None)])):
        raise problem or CheckpointError(f"{path} cannot be read by another process; see what it says")
    return manifest.progress(path)


def _load(path: Path, wanted: dict[str, Tensor], *, verified: bool) -> None:
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if distributed() else (0, 1)
    content = manifest.read(path) if verified else manifest.verify(path, rank=rank, ranks=ranks)
    reader = Reader(path, files=content["files"])
    stored = reader.tensors()
    anew = {name for name in wanted if name.startswith(OPTIONAL) and not _alike(stored.get(name), wanted[name])}
    if anew and rank == 0:
        log.get("dit_video.checkpoint").warning("%s has no %s as it is set now: it begins anew", path.name, min(anew))
    strict = {name: item for name, item in stored.items() if name in wanted or not name.startswith(OPTIONAL)}
    compared = {name: value for name, value in wanted.items() if name not in anew}
    _compare(path, compared, {name: item for name, item in strict.items() if name not in anew})
    reader.read(compared)


def _alike(item: TensorStorageMetadata | None, value: Tensor) -> bool:
    return item is not None and (item.size, item.properties.dtype) == (value.shape, value.dtype)


def weights(path: Path, *, ema: bool = True, verified: bool = False) -> dict[str, Tensor]:
    """The model's tensors by name, on the CPU, with neither model nor optimizer; averages where `ema` and there are.

    One process reads them all.
    """
    source = Source(path, ema=ema, verified=verified)
    return source.read(source.names)


class Source:
    """The weights of a checkpoint by name: raw, or averaged where `ema` and there are averages."""

    def __init__(self, path: Path, *, ema: bool, verified: bool = False) -> None:
        content = manifest.read(path) if verified else manifest.verify(path)
        self.reader = Reader(path, files=content["files"])
        stored = self.reader.tensors()
        self.items = {n.removeprefix("model."): item for n, item in stored.items() if n.startswith("model.")}
        averages = {name.removeprefix("ema.") for name in stored if name.startswith("ema.")}
        if unknown := averages - set(self.items):
            raise CheckpointError(f"checkpoint {path} averages {min(unknown)}, which its model does not have")
        self.stored = {name: f"{'ema' if ema and name in averages else 'model'}.{name}" for name in self.items}

    @property
    def names(self) -> list[str]:
        """All of them."""
        return sorted(self.items)

    def read(self, names: Collection[str]) -> dict[str, Tensor]:
        """Some of them, in the types of the model."""
        found = self.reader.empty(self.stored[name] for name in names)
        self.reader.read(found)
        return {name: found.pop(self.stored[name]).to(self.items[name].properties.dtype) for name in names}


class Planner(dcp.DefaultLoadPlanner):
    """Reads tensors alone: the library would unpickle anything else."""

    def load_bytes(self, read_item: Any, value: Any) -> None:  # noqa: ARG002 - the library's signature
        """Refused."""
        raise CheckpointError(f"{read_item.dest_index.fqn} is not a tensor")


class Reader(dcp.FileSystemReader):
    """Reads only what the manifest lists, and unpickles only the index's own classes."""

    def __init__(self, path: Path, *, files: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(path)
        self.files = files

    def read(self, wanted: dict[str, Tensor]) -> None:
        """Fill tensors, or this process's parts of them, by name; beside them one stored part at a time is held."""
        try:
            quiet()
            dcp.load(wanted, storage_reader=self, planner=Planner(), no_dist=True)
        except CheckpointException as error:
            reason = str(error.failures[min(error.failures)][0]).strip().splitlines()[0]
            raise CheckpointError(f"the tensors of {self.path} cannot be read: {reason}") from error

    def empty(self, names: Any) -> dict[str, Tensor]:
        """Room for some of the stored tensors."""
        stored = self.tensors()
        return {name: torch.empty(stored[name].size, dtype=stored[name].properties.dtype) for name in names}

    def read_metadata(self) -> Metadata:  # type: ignore[override]
        """The index of tensors."""
        return self.index

    @cached_property
    def index(self) -> Metadata:
        """The index of tensors; CheckpointError for anything else in its place."""
        try:
            with (Path(self.path) / ".metadata").open("rb") as file:
                metadata = _Restricted(file).load()
        except Exception as error:  # whatever a foreign file makes of the classes it may name
            raise CheckpointError(f"the tensor index of {self.path} cannot be read: {error}") from None
        if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, Mapping):
            raise CheckpointError(f"the tensor index of {self.path} is not one")
        for item in metadata.storage_data.values():
            if not self._lies_within(item):
                raise CheckpointError(f"the tensor index of {self.path} points outside its manifest")
        metadata.storage_meta = StorageMeta(load_id=self.load_id)
        return metadata

    def _lies_within(self, item: Any) -> bool:
        """Whether stored bytes are a stretch of a file of the manifest, to be read as they are."""
        if not isinstance(item, _StorageInfo) or not isinstance(item.offset, int) or not isinstance(item.length, int):
            return False
        size = self.files.get(item.relative_path, {}).get("bytes", -1)
        return (
            min(item.offset, item.length) >= 0 and item.offset + item.length <= size and not item.transform_descriptors
        )

    def tensors(self) -> dict[str, TensorStorageMetadata]:
        """Sizes and types by name; CheckpointError if anything but tensors is stored."""
        found = {}
        for name, item in self.read_metadata().state_dict_metadata.items():
            if not isinstance(item, TensorStorageMetadata):
                raise CheckpointError(f"checkpoint {self.path}: {name} is not a tensor")
            found[name] = item
        return found


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Only the classes of the index, and torch's types of numbers."""
        if name in CLASSES.get(module, ()):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")


def _compare(path: Path, wanted: Mapping[str, Tensor], stored: Mapping[str, TensorStorageMetadata]) -> None:
    for name in sorted({*wanted, *stored}):
        if name not in stored or name not in wanted:
            where = "lacks" if name not in stored else "has"
            raise CheckpointError(
                f"{path} is of another model: it {where} {name}; check models.* and optim, or choose another run.dir"
            )
        there, here = tuple(stored[name].size), tuple(wanted[name].shape)
        if there != here:
            raise CheckpointError(
                f"{path} is of another model: {name} is {there} there and {here} here; check models.*"
            )
        was, now = (str(item).removeprefix("torch.") for item in (stored[name].properties.dtype, wanted[name].dtype))
        if was != now:
            raise CheckpointError(f"{path} has {name} in {was}, this run in {now}; check trainer.precision")
