"""From the bytes of a sample to pixels of its bucket: time by nearest stamp, space by area, the rest cropped.

A clip at 720p for a bucket of 128x72 takes about 0.2 s, nearly all of it the decoder's; one that was curated with
longest=320 takes 0.03 s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch.utils.data import Dataset

from datamodules.index import Index
from datamodules.loader import Loaded
from datamodules.order import uniform
from datamodules.packs import Item
from datamodules.shards import Shards
from datamodules.steps import Micro
from dit_video.batch import ClipBatch, Place
from dit_video.errors import DataError
from dit_video.media.fit import cover, covering
from dit_video.media.image import read_image
from dit_video.media.read import pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.buckets import Buckets
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
    return np.stack([cover(image, bucket.height, bucket.width) for image in frames])


def reduced(size: tuple[int, int], *, height: int, width: int) -> tuple[int, int]:
    """`size` (height, width) scaled down so that it just covers height x width; as it is where it is smaller."""
    return min(size, covering(size, height=height, width=width))


def fitting(found: Index, table: Buckets, fps: float) -> list[VideoShape | None]:
    """The bucket of every row; None where a clip is too short for all."""
    return [
        table.choose(frames=available(int(f), float(rate), fps), height=int(h), width=int(w))
        for f, rate, h, w in zip(found.frames, found.fps, found.height, found.width, strict=True)
    ]


def to_video(frames: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (t, h, w, 3) as float32 (3, t, h, w) in [-1, 1]."""
    return rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "t h w c -> c t h w").float() / 127.5 - 1


@dataclass(frozen=True, kw_only=True)
class ClipLoader(Dataset):
    """Makes a ClipBatch of a planned micro-batch; used in worker processes."""

    index: Index
    shards: Shards
    shapes: list[VideoShape | None]
    fps: float
    seed: int

    def __getitem__(self, micro: Micro) -> Loaded:
        items = [(pack.stream, item) for pack in micro.packs for item in pack.items]
        rows = [item.row for _, item in items]
        starts = [self.start(stream, item) for stream, item in items]
        return self.load(rows, starts, captions=micro.captions, place=micro.place)

    def start(self, stream: int, item: Item) -> int:
        """The first frame (at the recipe's rate) of a training clip, drawn where the clip is longer than its bucket."""
        found, row = self.index, item.row
        spare = available(int(found.frames[row]), float(found.fps[row]), self.fps) - self.shape(row).frames
        return int(float(uniform(self.seed, "start", stream, item.ordinal)) * (spare + 1)) if spare > 0 else 0

    def shape(self, row: int) -> VideoShape:
        """The bucket of a row that has one."""
        found = self.shapes[row]
        assert found is not None, "rows without a bucket take no part"
        return found

    def load(self, rows: Sequence[int], starts: Sequence[int], *, captions: tuple[str, ...], place: Place) -> Loaded:
        """Rows of one bucket as a ClipBatch; a damaged one is zeros of weight 0."""
        shape = self.shape(rows[0])
        video = torch.zeros(len(rows), 3, shape.frames, shape.height, shape.width)
        weight, bad = torch.ones(len(rows)), []
        for at, (row, start) in enumerate(zip(rows, starts, strict=True)):
            try:
                video[at] = to_video(self.pixels(row, start))
            except DataError as error:
                weight[at] = 0
                bad.append((self.index.key[row], str(error)))
        keys = tuple(self.index.key[row] for row in rows)
        batch = ClipBatch(video=video, weight=weight, captions=captions, keys=keys, fps=self.fps, place=place)
        return Loaded(batch, tuple(bad), len(rows))

    def pixels(self, row: int, start: int = 0) -> NDArray[np.uint8]:
        """One sample as uint8 (t, h, w, 3) of its bucket; DataError where it is damaged."""
        found = self.index
        place: dict[str, Any] = {
            "offset": int(found.offset[row]),
            "size": int(found.size[row]),
            "sha256": found.sha256[row],
        }
        data = self.shards.read(found.tar(row), **place)
        return clip(data, found.suffix[row], self.shape(row), fps=self.fps, start=start)
