"""Tensors to and from torch.distributed.checkpoint files, by one process or many.

Two stricter rules than the library's: the index of tensors is unpickled by a list of allowed names (the library
would run what it holds), and a checkpoint of another model is an error that names the first difference.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata

from dit_video.checkpoint import manifest
from dit_video.checkpoint.manifest import Progress
from dit_video.checkpoint.state import State, flat
from dit_video.errors import CheckpointError

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


def write(folder: Path, state: State) -> None:
    """Write this process's part of the tensors into `folder`; every process of the run must call it.

    Raises CheckpointError on all of them where a file cannot be written on one.
    """
    try:
        with _quiet():
            dcp.save(flat(state), storage_writer=Writer(folder, sync_files=True), no_dist=not distributed())
    except CheckpointException as error:
        raise CheckpointError(_reason(error)) from error


def _reason(error: CheckpointException) -> str:
    """What the file system said on the first process that failed, behind what torch made of it."""
    first: BaseException = error.failures[min(error.failures)][0]
    current: BaseException | None = first
    while current is not None and not isinstance(current, OSError):
        current = current.__cause__ or current.__context__
    return (current and current.strerror) or str(first).splitlines()[0]


def load(path: Path, state: State) -> Progress:
    """Read a verified checkpoint into the tensors of `state`, in place; returns where the run stood.

    Raises CheckpointError if the folder is damaged, or holds other names, shapes or types than `state`.
    """
    files = manifest.verify(path)["files"]
    wanted = flat(state)
    reader = Reader(path, files=files)
    _compare(path, wanted, reader.tensors())
    with _quiet():
        dcp.load(wanted, storage_reader=reader, no_dist=not distributed())
    return manifest.progress(path)


def weights(path: Path, *, ema: bool = True) -> dict[str, Tensor]:
    """The model's tensors by name, on the CPU, with neither model nor optimizer; averages where `ema` and there are."""
    reader = Reader(path, files=manifest.verify(path)["files"])
    stored = reader.tensors()
    parts = ("model.", "ema.") if ema else ("model.",)
    read = {n: torch.empty(item.size, dtype=item.properties.dtype) for n, item in stored.items() if n.startswith(parts)}
    with _quiet():
        dcp.load(read, storage_reader=reader, no_dist=True)
    model = {name.removeprefix("model."): value for name, value in read.items() if name.startswith("model.")}
    averages = {name.removeprefix("ema."): value for name, value in read.items() if name.startswith("ema.")}
    unknown = set(averages) - set(model)
    if unknown:
        raise CheckpointError(f"checkpoint {path} averages {min(unknown)}, which its model does not have")
    return model | {name: value.to(model[name].dtype) for name, value in averages.items()}


def distributed() -> bool:
    """Whether several processes write and read together."""
    return dist.is_available() and dist.is_initialized()


class Writer(dcp.FileSystemWriter):
    """Keeps the path of this machine out of the index."""

    def storage_meta(self) -> StorageMeta:
        """What the index says about the checkpoint as a whole: nothing."""
        return StorageMeta()


class Reader(dcp.FileSystemReader):
    """Reads only what the manifest lists, and unpickles only the index's own classes."""

    def __init__(self, path: Path, *, files: object) -> None:
        super().__init__(path)
        self.files = files if isinstance(files, dict) else {}

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:  # noqa: ARG002 - the library's signature
        """The index of tensors; CheckpointError for anything else in its place."""
        try:
            with (Path(self.path) / ".metadata").open("rb") as file:
                metadata = _Restricted(file).load()
        except (OSError, EOFError, pickle.UnpicklingError, AttributeError, ValueError) as error:
            raise CheckpointError(f"the tensor index of {self.path} cannot be read: {error}") from None
        if not isinstance(metadata, Metadata) or not isinstance(metadata.storage_data, Mapping):
            raise CheckpointError(f"the tensor index of {self.path} is not one")
        if any(item.relative_path not in self.files for item in metadata.storage_data.values()):
            raise CheckpointError(f"the tensor index of {self.path} points outside its manifest")
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata

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


@contextmanager
def _quiet() -> Iterator[None]:
    """The library warns that one process saves alone, which is what we asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")
        yield
