"""From the bytes of a sample to pixels of its bucket: time by nearest stamp, space by area, the rest cropped.

A clip at 720p for a bucket of 128x72 takes about 0.2 s, nearly all of it the decoder's; one that was curated with
longest=320 takes 0.03 s.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dit_video.media.fit import cover, covering
from dit_video.media.image import read_image
from dit_video.media.read import pick

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
