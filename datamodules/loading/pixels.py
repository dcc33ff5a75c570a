"""From the bytes of a sample to pixels of its bucket: time by nearest stamp, space by area, the rest cropped.

A clip at 720p for a bucket of 128x72 takes about 0.2 s, nearly all of it the decoder's; one that was curated with
longest=320 takes 0.03 s. Pixels leave a loader process as bytes, and are made numbers on the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from einops import rearrange

from datamodules.dataset.index import Index
from datamodules.files.shards import Member, Shards
from datamodules.files.storage import DamagedError
from datamodules.loading.guard import Guard
from datamodules.loading.loader import Bad, Loaded
from datamodules.loading.room import Empty, plain
from datamodules.order.packs import Item, Pack
from datamodules.order.steps import Micro
from dit_video.batch import ClipBatch
from dit_video.errors import DataError
from dit_video.media.fit import cover, covering
from dit_video.media.image import read_image
from dit_video.media.pick import pick
from dit_video.seeds import level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.dataset.buckets import Buckets
    from dit_video.shapes import VideoShape

VIDEO = "mp4"


def available(frames: int, native_fps: float, fps: float) -> int:
    """How many frames a clip has at the rate `fps`; an image has one."""
    return max(1, math.floor(frames * fps / native_fps + 1e-6)) if native_fps > 0 else 1


def clip(data: bytes, suffix: str, bucket: VideoShape, *, fps: float, start: int = 0) -> NDArray[np.uint8]:
    """Frames `start` and on (counted at `fps`) as uint8 (t, h, w, 3) of the bucket; DataError where unreadable."""
    if suffix != VIDEO:
        return np.stack([cover(read_image(data), bucket.height, bucket.width)] * bucket.frames)
    fit = partial(reduced, height=bucket.height, width=bucket.width)
    frames = pick(data, fps=fps, start=start / fps, count=bucket.frames, fit=fit)
    native = frames.shape[1:3]
    if native != covering(native, height=bucket.height, width=bucket.width):
        return np.stack([cover(image, bucket.height, bucket.width) for image in frames])
    top, left = (native[0] - bucket.height) // 2, (native[1] - bucket.width) // 2
    return frames[:, top : top + bucket.height, left : left + bucket.width]


def reduced(size: tuple[int, int], *, height: int, width: int) -> tuple[int, int]:
    """`size` (height, width) scaled down so that it just covers height x width; as it is where it is smaller."""
    return min(size, covering(size, height=height, width=width))


def fitting(found: Index, table: Buckets, fps: float) -> list[VideoShape | None]:
    """The bucket of every row; None where a clip is too short for all."""
    rate = np.ascontiguousarray(found.fps, np.float64).view(np.int64)  # its bits: equal rates are equal
    asked = np.stack([found.frames, rate, found.height, found.width], axis=1)
    _, first, kind = np.unique(asked, axis=0, return_index=True, return_inverse=True)
    rows = ((int(found.frames[at]), float(found.fps[at]), int(found.height[at]), int(found.width[at])) for at in first)
    shapes = [table.choose(frames=available(count, native, fps), height=h, width=w) for count, native, h, w in rows]
    return [shapes[at] for at in kind.reshape(-1)]


def to_video(frames: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (t, h, w, 3) as float32 (3, t, h, w) in [-1, 1]."""
    return to_float(torch.from_numpy(rearrange(frames, "t h w c -> c t h w").copy()))


def to_float(video: torch.Tensor) -> torch.Tensor:
    """uint8 as float32 in [-1, 1], on the device it is on."""
    return video.float().div_(127.5).sub_(1)


@dataclass(frozen=True, kw_only=True)
class ClipLoader:
    """Makes a ClipBatch of a planned micro-batch: `make` in worker processes, `finish` where it is trained on."""

    index: Index
    shards: Shards
    shapes: list[VideoShape | None]
    fps: float
    seed: int
    guard: Guard = field(default_factory=Guard)
    refused: Mapping[int, str] = field(default_factory=dict)

    def make(self, packs: Sequence[Pack], *, empty: Empty = plain) -> Loaded:
        """The samples of packs in bytes, for `finish`."""
        items = [(pack.stream, item) for pack in packs for item in pack.items]
        rows = [item.row for _, item in items]
        return self.load(rows, [self.start(stream, item) for stream, item in items], empty=empty)

    def start(self, stream: int, item: Item) -> int:
        """The first frame (at the recipe's rate) of a training clip, drawn where the clip is longer than its bucket."""
        found, row = self.index, item.row
        spare = available(int(found.frames[row]), float(found.fps[row]), self.fps) - self.shape(row).frames
        return int(level(self.seed, "start", stream, item.ordinal) * (spare + 1)) if spare > 0 else 0

    def shape(self, row: int) -> VideoShape:
        """The bucket of a row that has one."""
        found = self.shapes[row]
        assert found is not None, "rows without a bucket take no part"
        return found

    def load(self, rows: Sequence[int], starts: Sequence[int], *, empty: Empty = plain) -> Loaded:
        """Rows of one bucket in bytes (b, 3, t, h, w); what is damaged may be anything."""
        shape = self.shape(rows[0])
        made = empty((len(rows), 3, shape.frames, shape.height, shape.width), dtype=torch.uint8)
        video, bad = made.numpy(), []
        for at, data in enumerate(self.shards.read_all([self.member(row) for row in rows])):
            try:
                frames = self.decoded(rows[at], data, start=starts[at])
            except DataError as error:
                if isinstance(error.__cause__, MemoryError):
                    raise MemoryError from error
                bad.append(Bad(at, self.index.key[rows[at]], str(error)))
            else:
                for channel in range(3):  # as it is, numpy moves one byte at a time
                    video[at, channel] = frames[..., channel]
        return Loaded(made, tuple(bad))

    def finish(self, made: torch.Tensor, micro: Micro, bad: Sequence[Bad]) -> ClipBatch:
        """Bytes as a batch of float32; damaged clips are zeros, of weight 0."""
        video, weight, lost = to_float(made), torch.ones(len(made)), [at for at, _, _ in bad]
        video[lost], weight[lost] = 0, 0
        return ClipBatch(
            video=video,
            weight=weight.to(made.device, non_blocking=True),
            captions=micro.captions,
            keys=tuple([self.index.key[item.row] for pack in micro.packs for item in pack.items]),
            fps=self.fps,
            place=micro.place,
        )

    def without(self, refused: Mapping[int, str]) -> Self:
        """The same, but for which the rows `refused` are damaged."""
        return replace(self, refused={**self.refused, **refused})

    def pixels(self, row: int, start: int = 0) -> NDArray[np.uint8]:
        """One sample as uint8 (t, h, w, 3) of its bucket; DataError where it is damaged."""
        return self.decoded(row, self.shards.read_all([self.member(row)])[0], start=start)

    def decoded(self, row: int, data: bytes | DamagedError, *, start: int) -> NDArray[np.uint8]:
        """The pixels in the bytes of a sample; DataError where they are damaged, or it is refused."""
        if isinstance(data, DamagedError):
            raise data
        if row in self.refused:
            raise DataError(self.refused[row])
        with self.guard.sample():
            return clip(data, self.index.suffix[row], self.shape(row), fps=self.fps, start=start)

    def member(self, row: int) -> Member:
        """Where the bytes of a sample are."""
        found = self.index
        return Member(found.tar(row), int(found.offset[row]), int(found.size[row]), found.sha256[row])
