"""From the bytes of a sample to pixels of its bucket: time by nearest stamp, space by area, the rest cropped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dit_video.media.image import read_image
from dit_video.media.read import nearest, read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dit_video.shapes import VideoShape

VIDEO = "mp4"


def available(frames: int, native_fps: float, fps: float) -> int:
    """How many frames a clip has at the rate `fps`; an image has one."""
    return max(1, math.floor(frames * fps / native_fps + 1e-6)) if native_fps > 0 else 1


def cover(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """RGB (h, w, 3) scaled to cover height x width, and cropped at the centre."""
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    scale = max(height / rows, width / columns)
    size = (max(width, round(columns * scale)), max(height, round(rows * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(image, size, interpolation=method) if size != (columns, rows) else image
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]


def clip(data: bytes, suffix: str, bucket: VideoShape, *, fps: float, start: int = 0) -> NDArray[np.uint8]:
    """Frames `start` and on (counted at `fps`) as uint8 (t, h, w, 3) of the bucket; DataError where unreadable."""
    if suffix != VIDEO:
        images = [read_image(data)] * bucket.frames
    else:
        video = read(data)
        picks = nearest(video.times, fps=fps, start=start / fps, count=bucket.frames)
        images = [video.frames[pick] for pick in picks]
    return np.stack([cover(image, bucket.height, bucket.width) for image in images])
