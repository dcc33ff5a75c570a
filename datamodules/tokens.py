"""Latents of a sidecar as the tokens of packs: what a loader process makes of a planned micro-batch for the DiT.

A worker moves bytes alone: tokens are sent as they are stored, channels first, and become float32 (n, c*p*p) on the
device. Where they stand follows from the index (places.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from einops import rearrange

from datamodules.guard import Guard
from datamodules.index import Index, LatentIndex
from datamodules.loader import Loaded
from datamodules.packs import Item
from datamodules.places import Extent, filling, laid_out
from datamodules.shards import Member, Shards
from datamodules.steps import Micro
from datamodules.storage import DamagedError
from dit_video.batch import PackBatch
from dit_video.errors import DataError

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
        data = np.zeros((self.channels * self.patch**2, self.length * len(micro.packs)), self.dtype)
        extents, bad = self.extents(micro), dict[int, tuple[str, str]]()
        ends = list(accumulate(extent.tokens for extent in extents))
        own = [at for at, extent in enumerate(extents) if not extent.spare]
        read = self.shards.read_all([self.member(item.row) for item in items])
        for at, item, found in zip(own, items, read, strict=True):
            tokens = data[:, ends[at] - extents[at].tokens : ends[at]]
            try:
                self.fill(tokens, item, found)
            except DataError as error:
                tokens[:] = 0
                bad[at] = (self.index.key[item.row], str(error))
        layout, weight = laid_out(extents, [at not in bad for at in range(len(extents))])
        texts = dict(zip(own, micro.captions, strict=True))
        rows = {at: item.row for at, item in zip(own, items, strict=True)}
        places = range(len(extents))
        batch = PackBatch(
            data=torch.from_numpy(data),
            weight=weight,
            pack=torch.arange(len(micro.packs)).repeat_interleave(self.length),
            layout=layout,
            captions=tuple(texts.get(at, "") for at in places),
            keys=tuple(self.index.key[rows[at]] if at in rows else "" for at in places),
            sources=tuple(self.index.source[rows[at]] if at in rows else "" for at in places),
            place=micro.place,
        )
        return Loaded(batch, tuple(bad.values()), len(items))

    @property
    def dtype(self) -> np.dtype[Any]:
        """What numpy holds the latents in."""
        return DTYPES[STORED[self.latents.recipe["dtype"]]]

    def extents(self, micro: Micro) -> list[Extent]:
        """The clips of a micro-batch, and what fills each pack up."""
        found: list[Extent] = []
        for pack in micro.packs:
            clips = [self.extent(item) for item in pack.items]
            spare = self.length - sum(clip.tokens for clip in clips)
            found += [*clips, filling(spare)] if spare else clips
        return found

    def extent(self, item: Item) -> Extent:
        """A sample under its condition."""
        frames, rows, columns = self.shape(item.row)
        tail = item.pattern == "suffix"
        rows, columns = rows // self.patch, columns // self.patch
        return Extent(frames=frames + tail, rows=rows, columns=columns, cut=item.cut, tail=tail)

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
        size = int(np.prod(shape))
        latent = np.frombuffer(data, self.dtype, size, part.begin).reshape(shape)
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
