"""Bringing frames to a size and a rate: space by area, the rest cropped; time by the nearest frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def covering(size: tuple[int, int], *, height: int, width: int) -> tuple[int, int]:
    """`size` (height, width) scaled so that it just covers height x width."""
    rows, columns = size
    scale = max(height / rows, width / columns)
    return max(height, round(rows * scale)), max(width, round(columns * scale))


def cover(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """RGB (h, w, 3) scaled to cover height x width, and cropped at the centre."""
    native = image.shape[:2]
    rows, columns = covering(native, height=height, width=width)
    method = cv2.INTER_AREA if rows < native[0] else cv2.INTER_CUBIC
    scaled = cv2.resize(image, (columns, rows), interpolation=method) if native != (rows, columns) else image
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]


def at_rate(frames: NDArray[np.uint8], *, native: float, fps: float) -> NDArray[np.uint8]:
    """Frames (t, h, w, 3) shown at `native` frames a second, brought to `fps`."""
    count = max(1, math.floor(len(frames) * fps / native + 1e-6))
    picks = np.minimum(np.round(np.arange(count) * native / fps), len(frames) - 1).astype(np.int64)
    return frames[picks]
