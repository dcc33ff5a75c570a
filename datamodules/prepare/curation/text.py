"""Where a picture has what looks like text: lines of strokes in two shades. It flags; it does not read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Text:
    """What looks like a line of text, in a picture whose short side is at most 480 pixels.

    `contrast`: of a stroke with its ground, of 255. `stroke`: its width at most. `height`: pixels of a line. `long`:
    its width over its height. `full`: share of the line that its letters take. `shades`: share of its variance that
    lies between its two shades. `strokes`: edges per line height along it.
    """

    contrast: int = 60
    stroke: int = 13
    height: tuple[int, int] = (7, 90)
    long: float = 1.5
    shades: float = 0.7
    strokes: tuple[float, float] = (2.0, 14.0)
    full: float = 0.45


def is_line(box: NDArray[np.uint8], *, rules: Text) -> bool:
    """Whether luma (h, w) is two shades in strokes."""
    _, ink = cv2.threshold(box, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    spread, share = float(box.var()), float(ink.mean())
    if not 0.08 < share < 0.92 or spread < 1:
        return False
    light, dark = float(box[ink > 0].mean()), float(box[ink == 0].mean())
    shades = share * (1 - share) * (light - dark) ** 2 / spread
    height, width = box.shape
    middle = ink[height // 4 : max(height // 4 + 1, 3 * height // 4)]
    strokes = float(np.abs(np.diff(middle.astype(np.int8), axis=1)).sum(1).mean()) * height / width
    return shades >= rules.shades and rules.strokes[0] <= strokes <= rules.strokes[1]


def text_mask(luma: NDArray[np.uint8], *, rules: Text) -> NDArray[np.uint8]:
    """1 where luma (h, w) has text, else 0: thin strokes lighter or darker than what is around them, in lines."""
    mask = np.zeros_like(luma)
    thin = np.ones((rules.stroke, rules.stroke), np.uint8)
    for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        strokes = cv2.inRange(cv2.morphologyEx(luma, kind, thin), rules.contrast, 255)
        joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((1, rules.stroke), np.uint8))
        _, _, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
        for left, top, width, height, area in boxes[1:].tolist():
            fits = rules.height[0] <= height <= rules.height[1] and width >= rules.long * height
            if fits and area >= rules.full * width * height:
                place = (slice(top, top + height), slice(left, left + width))
                if is_line(luma[place], rules=rules):
                    mask[place] = 1
    return mask
