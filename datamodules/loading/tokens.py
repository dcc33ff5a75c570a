"""Latents of a sidecar as the tokens of packs: what a loader process makes of a planned micro-batch for the DiT.

- Of a sample's file only the tensors that its pattern needs are read, each checked by a hash of its own.
- A worker moves bytes alone: tokens are sent as they are stored, and become float32 on the device.
- Where they stand is as large as what they are, and made of a few numbers where it is needed; once for all clips of a
  bucket under a condition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import cv2
import numpy as np
import torch
from einops import rearrange

from datamodules.dataset.index import Index
from datamodules.dataset.sidecars import LatentIndex
from datamodules.files.shards import Member, Shards
from datamodules.files.storage import DamagedError
from datamodules.loading.guard import Guard
from datamodules.loading.loader import Bad, Loaded
from datamodules.loading.room import Empty, plain
from datamodules.order.packs import Item, Pack
from datamodules.order.steps import Micro
from dit_video.batch import PackBatch
from dit_video.errors import DataError
from dit_video.ops.layout import Clip, conditioned, lay, padding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.int16] | NDArray[np.int32]

STORED = {"float16": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}
NAMES = {"F16": torch.float16, "F32": torch.float32, "BF16": torch.bfloat16}  # in the head of a safetensors file
BITS: dict[int, tuple[torch.dtype, Any]] = {2: (torch.int16, np.int16), 4: (torch.int32, np.int32)}  # by their bytes

Shapes = dict[str, tuple[int, ...]]


class Part(NamedTuple):
    """A tensor in a safetensors file: its type and shape, and where its bytes begin."""

    dtype: str
    shape: tuple[int, ...]
    begin: int


@dataclass(frozen=True, kw_only=True)
class PackLoader:
    """Makes a PackBatch of a planned micro-batch: `make` in worker processes, `finish` where it is trained on."""

    index: Index
    latents: LatentIndex
    shards: Shards
    channels: int
    patch: int
    length: int
    guard: Guard = field(default_factory=Guard)
    refused: Mapping[int, str] = field(default_factory=dict)

    def make(self, packs: Sequence[Pack], *, empty: Empty = plain) -> Loaded:
        """The tokens of packs as they are stored, (n, c*p*p), for `finish`; those that are damaged are zeros."""
        read = self.read([item for pack in packs for item in pack.items])
        made = empty((self.length * len(packs), self.channels * self.patch**2), dtype=self.dtype)
        tokens: Bits = made.view(BITS[made.itemsize][0]).numpy()
        bad: list[Bad] = []
        at = 0
        for number, pack in enumerate(packs):
            first = number * self.length
            for item in pack.items:
                after = first + item.tokens
                try:
                    self.fill(tokens[first:after], item, *read[at])
                except DataError as error:
                    tokens[first:after] = 0
                    bad.append(Bad(at, self.index.key[item.row], str(error)))
                first, at = after, at + 1
            tokens[first : (number + 1) * self.length] = 0
        return Loaded(made, tuple(bad))

    @cached_property
    def dtype(self) -> torch.dtype:
        """What the latents are stored as."""
        return STORED[self.latents.recipe["dtype"]]

    def shape(self, row: int) -> tuple[int, int, int]:
        """Frames, height and width of a sample's latent, by the index."""
        found = self.latents
        return int(found.frames[row]), int(found.height[row]), int(found.width[row])

    def read(self, items: Sequence[Item]) -> list[tuple[Shapes, list[bytes | DamagedError]]]:
        """Of samples the tensors that their patterns need, by name, and what was read for them."""
        wanted = [self.wanted(item) for item in items]
        members = [self.members(item, shapes) for item, shapes in zip(items, wanted, strict=True)]
        found = iter(self.shards.read_all([member for some in members for member in some]))
        return [(shapes, [next(found) for _ in some]) for shapes, some in zip(wanted, members, strict=True)]

    def wanted(self, item: Item) -> Shapes:
        """The tensors that a sample's pattern needs, and their shapes (c, t, h, w) by the index."""
        frames, height, width = self.shape(item.row)
        if item.pattern != "suffix":
            return {"clip": (self.channels, frames, height, width)}
        tail = self.channels, frames - item.cut, height, width
        return {"clip": (self.channels, frames, height, width), f"tail{item.cut}": tail}

    def members(self, item: Item, wanted: Shapes) -> list[Member]:
        """Where the wanted tensors are, or the file of a sample if the index does not say where they are in it."""
        found, row = self.latents, item.row
        places = found.places[row]
        if not places[0]:
            return [self.member(row)]
        tar = self.index.tar(row, f"latents/{found.name}")
        which = [0] if len(wanted) == 1 else [0, 1 + found.tails[row].tolist().index(item.cut)]
        hashes, size = found.hashes[row], self.dtype.itemsize
        return [
            Member(tar, int(places[at]), size * math.prod(shape), hashes[at].tobytes().hex())
            for at, shape in zip(which, wanted.values(), strict=True)
        ]

    def member(self, row: int) -> Member:
        """Where the file of a sample is."""
        found = self.latents
        tar = self.index.tar(row, f"latents/{found.name}")
        return Member(tar, int(found.offset[row]), int(found.size[row]), found.sha256[row])

    def fill(self, tokens: Bits, item: Item, wanted: Shapes, read: Sequence[bytes | DamagedError]) -> None:
        """Put the latent that was read into `tokens` (n, c*p*p); DataError where it is damaged or another one."""
        for data in read:
            if isinstance(data, DamagedError):
                raise data
        if item.row in self.refused:
            raise DataError(self.refused[item.row])
        tensors = self.tensors(wanted, [data for data in read if isinstance(data, bytes)], row=item.row)
        if item.pattern == "suffix":
            tensors[0] = tensors[0][:, : item.cut + 1]
        first = 0
        for tensor in tensors:
            after = first + tensor[0].size // self.patch**2
            patched(tensor, tokens[first:after], patch=self.patch)
            first = after

    def tensors(self, wanted: Shapes, read: Sequence[bytes], *, row: int) -> list[Bits]:
        """Tensors (c, t, h, w) as they were read one by one, or out of the file of a sample."""
        if not self.latents.places[row, 0]:
            return [self.tensor(read[0], name, shape) for name, shape in wanted.items()]
        dtype = BITS[self.dtype.itemsize][1]
        return [np.frombuffer(data, dtype).reshape(shape) for data, shape in zip(read, wanted.values(), strict=True)]

    def tensor(self, data: bytes, name: str, shape: tuple[int, ...]) -> Bits:
        """A tensor (c, t, h, w) of a safetensors file; DataError where it is another than the index says."""
        part = parts(data[: 8 + int.from_bytes(data[:8], "little")]).get(name)
        if part is None or part.shape != shape or NAMES.get(part.dtype) != self.dtype:
            raise DataError(f"its latent {name} is {part and (part.dtype, part.shape)}, not {shape} as the index says")
        dtype = BITS[self.dtype.itemsize][1]
        return np.frombuffer(data, dtype, math.prod(shape), part.begin).reshape(shape)

    def finish(self, made: torch.Tensor, micro: Micro, bad: Sequence[Bad]) -> PackBatch:
        """Tokens as they are stored as a batch of float32, with their layout."""
        lost, texts = {at for at, _, _ in bad}, iter(micro.captions)
        clips: list[Clip] = []
        names: list[tuple[str, str, str]] = []
        at = 0
        for pack in micro.packs:
            spare = self.length
            for item in pack.items:
                clips.append(self.outline(item, sound=at not in lost))
                names.append((next(texts), self.index.key[item.row], self.index.source[item.row]))
                spare, at = spare - item.tokens, at + 1
            if spare:
                clips.append(filler(spare, 0))
                names.append(("", "", ""))
        weight, layout = lay(clips)
        captions, keys, sources = zip(*names, strict=True)
        return PackBatch(
            data=made.to(torch.float32, copy=made.device.type == "cpu"),  # what it came in is for another one
            weight=weight.to(made.device, non_blocking=True),
            pack=numbered(len(micro.packs), self.length, made.device),
            layout=layout.to(made.device, non_blocking=True) if made.device.type != "cpu" else layout,
            captions=captions,
            keys=keys,
            sources=sources,
            place=micro.place,
        )

    def outline(self, item: Item, *, sound: bool) -> Clip:
        """The tokens of a clip but for their data."""
        frames, height, width = self.shape(item.row)
        return shaped(frames, height // self.patch, width // self.patch, item.pattern, item.cut, sound)

    def without(self, refused: Mapping[int, str]) -> Self:
        """The same, but for which the rows `refused` are damaged."""
        return replace(self, refused={**self.refused, **refused})


def patched(latent: Bits, tokens: Bits, *, patch: int) -> None:
    """Put a latent (c, t, h, w) as patches into `tokens` (n, c*p*p)."""
    if patch > 1:
        channels, frames, height, _ = latent.shape
        sizes = {"c": channels, "t": frames, "h": height // patch, "p": patch, "q": patch}
        there = rearrange(tokens, "(t h w) (c p q) -> c t h p w q", **sizes)
        there[:] = rearrange(latent, "c t (h p) (w q) -> c t h p w q", p=patch, q=patch)
        return
    rows = latent.reshape(len(latent), -1)
    if cv2.transpose(rows, tokens) is not tokens:  # six times as fast as numpy or torch
        tokens[:] = rows.T


@lru_cache(maxsize=16)
def numbered(packs: int, length: int, device: torch.device) -> torch.Tensor:
    """The number of its pack for each token."""
    return torch.arange(packs, device=device).repeat_interleave(length)


@lru_cache(maxsize=256)
def shaped(frames: int, rows: int, columns: int, pattern: str, cut: int, sound: bool) -> Clip:
    """The tokens of a clip but for their data: the same for all clips of a bucket, and shared among batches."""
    tail = torch.zeros(0, frames - cut, rows, columns) if pattern == "suffix" else None
    return conditioned(torch.zeros(0, frames, rows, columns), tail=tail, pattern=pattern, cut=cut, patch=1, sound=sound)


filler = lru_cache(maxsize=256)(padding)


@lru_cache(maxsize=1024)
def parts(header: bytes) -> dict[str, Part]:
    """The tensors that the head of a safetensors file names (its first 8 bytes are the length of the rest)."""
    try:
        told = json.loads(header[8:])
        return {
            name: Part(about["dtype"], tuple(about["shape"]), len(header) + about["data_offsets"][0])
            for name, about in told.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(f"it has no header of tensors: {error}") from error
