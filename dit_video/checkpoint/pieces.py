"""Which process writes what: every tensor, or part of one, has one writer, so that state is copied and written once.

- A part that several processes hold (replicas) is written by one of them; names are dealt out by size, so that all
  write about the same. All processes come to the same answer without a word between them.
- `Copies` holds the state of a step while training goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from dit_video.checkpoint.state import State, flat
from dit_video.errors import CheckpointError


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """The part `data` of the tensor `name` of shape `size`, which lies at `offsets` in it."""

    name: str
    size: torch.Size
    offsets: torch.Size
    data: Tensor


@dataclass(frozen=True, kw_only=True)
class Place:
    """How a tensor lies over the processes: this one holds the part `data` at `offsets`, as replica `mine` of so many.

    `mine` is -1 where it holds nothing.
    """

    data: Tensor
    offsets: torch.Size
    replicas: int
    mine: int


def own(state: State) -> list[Piece]:
    """The pieces of `state` that this process is to write: views of the live tensors."""
    loads: dict[int, list[int]] = {}
    pieces = []
    for name, value in sorted(flat(state).items()):
        place = _place(name, value)
        load = loads.setdefault(place.replicas, [0] * place.replicas)
        writer = load.index(min(load))
        load[writer] += max(value.numel() * value.element_size(), 1)
        empty = place.data.numel() == 0 and value.numel() > 0
        if writer == place.mine and not empty:
            pieces.append(Piece(name=name, size=value.shape, offsets=place.offsets, data=place.data))
    return pieces


def _place(name: str, value: Tensor) -> Place:
    if not isinstance(value, DTensor):
        many = dist.is_available() and dist.is_initialized()
        replicas, mine = (dist.get_world_size(), dist.get_rank()) if many else (1, 0)
        return Place(data=value.detach(), offsets=torch.Size([0] * value.ndim), replicas=replicas, mine=mine)
    replicas, mine = 1, 0
    coordinate = value.device_mesh.get_coordinate()
    for axis, placement in enumerate(value.placements):
        if placement.is_partial():
            raise CheckpointError(f"{name} is a sum that was never taken; a checkpoint holds whole values only")
        if placement.is_replicate():
            count = value.device_mesh.size(axis)
            replicas, mine = replicas * count, mine * count + (coordinate[axis] if coordinate else 0)
    with torch.no_grad():
        local = value.to_local()
    chunks = value.__create_chunk_list__() if coordinate else []
    offsets = chunks[0].offsets if chunks else torch.Size([0] * value.ndim)
    return Place(data=local, offsets=offsets, replicas=replicas, mine=mine if chunks else -1)


class Copies:
    """Copies of pieces on the CPU; their memory is used again by the next ones.

    From a GPU they are copied into pinned memory without waiting: what training computes next comes behind the copies
    on the same stream, so it cannot change them. `ready` waits for the copies themselves.
    """

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}
        self.event: torch.cuda.Event | None = None

    @torch.no_grad()
    def take(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces as they are now; nothing of an earlier call may be in use."""
        self.buffers = {piece.name: self._buffer(piece) for piece in pieces}
        copied = [replace(piece, data=self.buffers[piece.name]) for piece in pieces]
        if pieces:
            known = all(piece.data.device.type in {"cpu", "cuda"} for piece in pieces)  # others are not waited for
            torch._foreach_copy_([piece.data for piece in copied], [p.data for p in pieces], non_blocking=known)
        self.event = None
        if any(piece.data.is_cuda for piece in pieces):
            self.event = torch.cuda.Event()
            self.event.record()
        return copied

    def ready(self) -> None:
        """Wait until the copies hold what was copied."""
        if self.event is not None:
            self.event.synchronize()

    def _buffer(self, piece: Piece) -> Tensor:
        before = self.buffers.get(piece.name)
        if before is not None and before.shape == piece.data.shape and before.dtype == piece.data.dtype:
            return before
        return torch.empty(piece.data.shape, dtype=piece.data.dtype, pin_memory=piece.data.is_cuda)
