"""Latents of a sidecar as the tokens of packs: what a loader process makes of a planned micro-batch for the DiT.

A worker moves bytes alone: tokens are sent as they are stored, channels first, and become float32 (n, c*p*p) on the
device. Where they stand is made once for all clips of a bucket under a condition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from einops import rearrange

from datamodules.dataset.index import Index, LatentIndex
from datamodules.files.shards import Member, Shards
from datamodules.files.storage import DamagedError
from datamodules.loading.guard import Guard
from datamodules.loading.loader import Loaded
from datamodules.order.packs import Item
from datamodules.order.steps import Micro
from dit_video.batch import PackBatch
from dit_video.errors import DataError
from dit_video.ops.layout import Clip, conditioned, join, padding

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "BF16": np.dtype("<i2"),
}
STORED = {"float16": "F16", "float32": "F32", "bfloat16": "BF16"}


class Part(NamedTuple):
    """A tensor in a safetensors file: its type and shape, and where its bytes begin."""

    dtype: str
    shape: tuple[int, ...]
    begin: int


@dataclass(frozen=True, kw_only=True)
class PackLoader:
    """Makes a PackBatch of a planned micro-batch; used in worker processes."""

    index: Index
    latents: LatentIndex
    shards: Shards
    channels: int
    patch: int
    length: int
    guard: Guard = field(default_factory=Guard)
    refused: Mapping[int, str] = field(default_factory=dict)

    def __getitem__(self, micro: Micro) -> Loaded:
        items = [item for pack in micro.packs for item in pack.items]
        read = iter(self.shards.read_all([self.member(item.row) for item in items]))
        data = np.zeros((self.channels * self.patch**2, self.length * len(micro.packs)), self.dtype)
        clips: list[Clip] = []
        names: list[tuple[str, str]] = []
        bad: list[tuple[str, str]] = []
        for number, pack in enumerate(micro.packs):
            first, end = number * self.length, (number + 1) * self.length
            for item in pack.items:
                after, key, reason = first + item.tokens, self.index.key[item.row], ""
                try:
                    self.fill(data[:, first:after], item, next(read))
                except DataError as error:
                    reason, data[:, first:after] = str(error), 0
                    bad.append((key, reason))
                clips.append(outline(*self.patches(item.row), pattern=item.pattern, cut=item.cut, sound=not reason))
                names.append((key, self.index.source[item.row]))
                first = after
            if first < end:
                clips.append(padding(end - first, 0))
                names.append(("", ""))
        _, weight, layout = join(clips)
        chosen = iter(micro.captions)
        batch = PackBatch(
            data=torch.from_numpy(data),
            weight=weight,
            pack=torch.arange(len(micro.packs)).repeat_interleave(self.length),
            layout=layout,
            captions=tuple(next(chosen) if key else "" for key, _ in names),
            keys=tuple(key for key, _ in names),
            sources=tuple(source for _, source in names),
            place=micro.place,
        )
        return Loaded(batch, tuple(bad), len(items))

    @property
    def dtype(self) -> np.dtype[Any]:
        """What numpy holds the latents in."""
        return DTYPES[STORED[self.latents.recipe["dtype"]]]

    def patches(self, row: int) -> tuple[int, int, int]:
        """Frames of a sample's latent, and rows and columns of its patches."""
        frames, height, width = self.shape(row)
        return frames, height // self.patch, width // self.patch

    def shape(self, row: int) -> tuple[int, int, int]:
        """Frames, height and width of a sample's latent, by the index."""
        found = self.latents
        return int(found.frames[row]), int(found.height[row]), int(found.width[row])

    def fill(self, tokens: NDArray[np.generic], item: Item, data: bytes | DamagedError) -> None:
        """Put the latent in `data` into `tokens` (c*p*p, n); DataError where it is damaged or another one."""
        if isinstance(data, DamagedError):
            raise data
        if item.row in self.refused:
            raise DataError(self.refused[item.row])
        frames, height, width = self.shape(item.row)
        if item.pattern != "suffix":
            tokens[:] = self.tokens(data, "clip", (self.channels, frames, height, width))
            return
        tail = self.tokens(data, f"tail{item.cut}", (self.channels, frames - item.cut, height, width))
        before = tokens.shape[1] - tail.shape[1]
        tokens[:, :before] = self.tokens(data, "clip", (self.channels, frames, height, width))[:, :before]
        tokens[:, before:] = tail

    def tokens(self, data: bytes, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """A tensor (c, t, h, w) of a safetensors file as patches (c*p*p, n); DataError where its shape is another."""
        part = parts(data[: 8 + int.from_bytes(data[:8], "little")]).get(name)
        if part is None or part.shape != shape or DTYPES.get(part.dtype) != self.dtype:
            raise DataError(f"its latent {name} is {part and (part.dtype, part.shape)}, not {shape} as the index says")
        latent = np.frombuffer(data, self.dtype, math.prod(shape), part.begin).reshape(shape)
        if self.patch == 1:
            return latent.reshape(shape[0], -1)
        patches: NDArray[np.generic] = rearrange(
            latent, "c t (h p) (w q) -> (c p q) (t h w)", p=self.patch, q=self.patch
        )
        return patches

    def finish(self, batch: PackBatch) -> PackBatch:
        """A batch of tokens as they are stored as one of float32 (n, c*p*p)."""
        stored = batch.data.view(torch.bfloat16) if batch.data.dtype == torch.int16 else batch.data
        data = torch.empty(stored.shape[::-1], dtype=torch.float32, device=stored.device)
        return replace(batch, data=data.copy_(stored.T))

    def without(self, refused: Mapping[int, str]) -> Self:
        """The same, but for which the rows `refused` are damaged."""
        return replace(self, refused={**self.refused, **refused})

    def member(self, row: int) -> Member:
        """Where the bytes of a sample are."""
        found = self.latents
        where = {"offset": int(found.offset[row]), "size": int(found.size[row]), "sha256": found.sha256[row]}
        return Member(path=self.index.tar(row, f"latents/{found.name}"), **where)


@lru_cache(maxsize=128)
def outline(frames: int, rows: int, columns: int, *, pattern: str, cut: int, sound: bool) -> Clip:
    """The tokens of a clip but for their data: the same for all clips of a bucket, and shared among batches."""
    tail = torch.zeros(0, frames - cut, rows, columns) if pattern == "suffix" else None
    return conditioned(torch.zeros(0, frames, rows, columns), tail=tail, pattern=pattern, cut=cut, patch=1, sound=sound)


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
