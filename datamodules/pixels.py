"""From the bytes of a sample to pixels of its bucket: time by nearest stamp, space by area, the rest cropped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from dit_video.media.fit import cover
from dit_video.media.image import read_image
from dit_video.media.read import nearest, read

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
        images = [read_image(data)] * bucket.frames
    else:
        video = read(data)
        picks = nearest(video.times, fps=fps, start=start / fps, count=bucket.frames)
        images = [video.frames[pick] for pick in picks]
    return np.stack([cover(image, bucket.height, bucket.width) for image in images])
