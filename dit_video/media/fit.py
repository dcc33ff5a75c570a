"""Bringing frames to a size and a rate: space by area, the rest cropped; time by the nearest frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2

from dit_video.media.read import nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLACK = 0.1  # of a frame: time stamps are rounded


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


def at_rate(times: NDArray[np.float64], *, fps: float, to_last: bool = False) -> NDArray[np.int64]:
    """Which of the frames shown at `times` (seconds, rising) stand for their video at `fps`.

    They are counted from the first frame, or with `to_last` back from the last, which is then one of them.
    """
    count = 1 + math.floor((times[-1] - times[0]) * fps + SLACK)
    start = times[-1] - (count - 1) / fps if to_last else times[0]
    return nearest(times, fps=fps, start=float(start), count=count)
