"""Shared memory for the tensors of an answer: a worker writes them into a room, whoever asked has them where they are.

- A room is a file without a name in memory, open in both processes since the fork. It grows to what its answers need,
  and is no part of /dev/shm, which containers keep small.
- It is free for another answer as soon as the last tensor in it is gone: one may be kept for as long as one likes.
- Without a room (all are taken, or the system refuses the memory), tensors go by value.
"""

from __future__ import annotations

import copyreg
import io
import mmap
import os
import pickle
import weakref
from collections.abc import Callable
from math import prod
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

ALIGNED = 64  # bytes at whose multiples tensors begin
STEP = 2**16  # bytes at whose multiples rooms end
MARK = bytearray(1)  # what stands in a pickle for bytes that are in a room


class Empty(Protocol):
    """Makes tensors without contents, as `torch.empty` does."""

    def __call__(self, shape: tuple[int, ...], /, *, dtype: torch.dtype) -> Tensor:
        """A tensor of that shape and type."""
        ...


class RefusedError(Exception):
    """The system gives a room no more memory."""


class Room:
    """Memory of one answer at a time, in two processes."""

    def __init__(self) -> None:
        create = getattr(os, "memfd_create", None)
        self.file = os.fdopen(create("room"), "r+b", 0) if create else TemporaryFile()  # noqa: SIM115 open as long as it
        self.map: mmap.mmap | None = None
        self.outgrown: list[mmap.mmap] = []  # while they last, no other memory has their addresses
        self.used = 0
        self.places: dict[int, int] = {}

    def begin(self) -> None:
        """Forget what was written."""
        self.used = 0
        self.places = {}
        self.outgrown = []

    def empty(self, shape: tuple[int, ...], /, *, dtype: torch.dtype) -> Tensor:
        """A tensor in the room; one of this process alone where the system refuses the memory."""
        count, before = prod(shape), self.map
        if not count:
            return torch.empty(shape, dtype=dtype)
        begin, used = self.used, -(-(self.used + count * dtype.itemsize) // ALIGNED) * ALIGNED
        try:
            whole = self.mapped(used)
        except OSError:  # `ulimit -f` counts this file too
            return torch.empty(shape, dtype=dtype)
        if before is not None and before is not whole:
            self.outgrown.append(before)
        found = torch.frombuffer(whole, dtype=dtype, count=count, offset=begin)
        self.places[found.data_ptr()] = begin
        self.used = used
        return found.view(shape)

    def mapped(self, size: int) -> mmap.mmap:
        """At least so many bytes of it; tensors in what was mapped before stay where they are."""
        if self.map is None or len(self.map) < size:
            there = os.fstat(self.file.fileno()).st_size
            if there < size:
                there = -(-max(size, 2 * there) // STEP) * STEP
                os.ftruncate(self.file.fileno(), there)
            self.map = mmap.mmap(self.file.fileno(), there)
        return self.map

    def packed(self, answer: Any) -> bytes:
        """An answer without its tensors, which are in the room or are copied into it; with them if they cannot be."""
        spans: list[tuple[int, int]] = []

        def reduced(tensor: Tensor) -> tuple[Any, ...]:
            found = tensor.contiguous()
            if found.nbytes:
                if found.data_ptr() not in self.places:
                    found = self.empty(tuple(tensor.shape), dtype=tensor.dtype).copy_(tensor)
                if found.data_ptr() not in self.places:
                    raise RefusedError
                spans.append((self.places[found.data_ptr()], found.nbytes))
            return rebuilt, (pickle.PickleBuffer(MARK) if found.nbytes else b"", tensor.dtype, tuple(tensor.shape))

        try:
            data = pickled(answer, reduced, lambda _: False)
        except RefusedError:
            return pickle.dumps((0, None, by_value(answer)))
        return pickle.dumps((self.used, spans, data))

    def opened(self, message: bytes | bytearray, free: Callable[[], Any]) -> Any:
        """The answer that another process has packed; `free` is called when all its tensors are gone."""
        size, spans, data = pickle.loads(message)  # noqa: S301 from a process of ours
        if spans is None:
            free()
            return pickle.loads(data)  # noqa: S301
        whole = np.frombuffer(self.mapped(size), np.uint8) if size else np.empty(0, np.uint8)
        weakref.finalize(whole, free).atexit = False
        parts = memoryview(whole)  # type: ignore[arg-type]
        return pickle.loads(data, buffers=[parts[at : at + count] for at, count in spans])  # noqa: S301


def pickled(answer: Any, reduced: Callable[[Tensor], tuple[Any, ...]], buffer: Callable[[Any], Any] | None) -> bytes:
    """An answer whose tensors are pickled as `reduced` says."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5, buffer_callback=buffer)
    pickler.dispatch_table = {**copyreg.dispatch_table, Tensor: reduced}
    pickler.dump(answer)
    return file.getvalue()


def by_value(answer: Any) -> bytes:
    """An answer with its tensors."""

    def reduced(tensor: Tensor) -> tuple[Any, ...]:
        data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
        content = pickle.PickleBuffer(data) if data.size else b""  # type: ignore[arg-type]
        return rebuilt, (content, tensor.dtype, tuple(tensor.shape))

    return pickled(answer, reduced, None)


def rebuilt(data: memoryview | bytearray | bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """The tensor whose bytes these are."""
    return torch.frombuffer(data, dtype=dtype).view(shape) if len(data) else torch.empty(shape, dtype=dtype)


def plain(shape: tuple[int, ...], /, *, dtype: torch.dtype) -> Tensor:
    """A tensor of this process alone."""
    return torch.empty(shape, dtype=dtype)
