"""Perceptual hashes: near pictures have hashes that differ in few of 64 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 32
LOW = 8


def perceptual(luma: NDArray[np.floating]) -> int:
    """64 bits of luma (h, w): which of the lowest 8x8 frequencies lie over their median (pHash, Zauner 2010)."""
    small = cv2.resize(np.asarray(luma, np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[:LOW, :LOW].ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
