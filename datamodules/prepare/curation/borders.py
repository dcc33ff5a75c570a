"""Black borders of a video, found over its frames and cropped.

A border is black in every frame, has a like one on the other side, and ends in a straight line: along its edge the
picture is lit somewhere in time in nearly every place. Inside, most of the picture is lit in some frames. So a thing on
a black ground, a title or the night have none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.prepare.curation.look import Track


@dataclass(frozen=True, kw_only=True)
class Borders:
    """What counts as a border, and whether to `crop` it.

    `black`: the lightest that it is, of 255. `lit`: what the picture reaches along its edge, on a `share` of it.
    `least` and `most`: share of a side that it takes. `filled`: of the picture inside, what is lit in a quarter of the
    frames. `kept`: of the whole, the least that borders on all four sides leave.
    """

    crop: bool = True
    black: int = 22
    lit: int = 36
    share: float = 0.7
    least: float = 0.01
    most: float = 0.4
    filled: float = 0.8
    kept: float = 0.45


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Shares of the height and width that are border."""

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))

    def place(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the picture inside; where a side is cropped, of an even length."""
        return inside(height, self.top, self.bottom), inside(width, self.left, self.right)

    def well_inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a map that touch no border, nor its edge."""
        return clear(height, self.top, self.bottom), clear(width, self.left, self.right)

    def kept(self) -> float:
        """Share of the side that is kept more of."""
        return max(1 - self.top - self.bottom, 1 - self.left - self.right)


def inside(length: int, first: float, last: float) -> slice:
    """What is left of a side without shares at its ends."""
    start, stop = round(first * length), length - round(last * length)
    odd = (stop - start) % 2 if (first or last) and stop - start > 1 else 0
    return slice(start, max(stop - odd, start + 1))


def clear(length: int, first: float, last: float) -> slice:
    """What is left of a side without shares at its ends, and without the place beside them."""
    start = math.ceil(first * length) + 1 if first else 0
    stop = length - math.ceil(last * length) - 1 if last else length
    return slice(min(start, length - 1), max(stop, min(start, length - 1) + 1))


def edge(lit: NDArray[np.uint8], *, rules: Borders) -> int:
    """How many first lines of `lit` (lines, places), the lightest of all frames, are border."""
    dark = (lit <= rules.black).all(1)
    count = len(lit) if dark.all() else int(np.argmin(dark))
    if not rules.least * len(lit) <= count <= rules.most * len(lit) or count == 0:
        return 0
    inside = lit[count : count + 3].max(0)
    if (inside >= rules.lit).mean() < rules.share:
        return 0
    soft = int((lit[count] >= rules.lit).mean() < rules.share)  # the first line is half border
    return count + soft


def within(lines: NDArray[np.uint8], first: float, last: float) -> NDArray[np.uint8]:
    """Lines (n, places) without the places that lie in borders of these shares across them."""
    places = lines.shape[1]
    return lines[:, int(np.ceil(first * places)) : places - int(np.ceil(last * places))]


def pair(lines: NDArray[np.uint8], *, rules: Borders) -> tuple[float, float]:
    """Shares of lines (n, places) that are border at their beginning and end; none where these are unlike."""
    first, last = edge(lines, rules=rules), edge(lines[::-1], rules=rules)
    if abs(first - last) > 0.25 * max(first, last) + 2:
        return 0.0, 0.0
    return first / len(lines), last / len(lines)


def is_filled(track: Track, crop: Crop, *, rules: Borders) -> bool:
    """Whether the picture inside is lit nearly everywhere in a quarter of the looks."""
    shares = [float((look.luma[crop.place(*look.luma.shape)] > rules.black).mean()) for look in track.looks]
    return float(np.quantile(shares, 0.75)) >= rules.filled


def find(track: Track, *, rules: Borders) -> Crop:
    """Borders by the lightest of all looks; those on one axis are sought again inside those on the other."""
    rows, columns = track.rows, track.columns
    if rows is None or columns is None:
        return Crop()
    crop = Crop()
    for _ in range(2):
        upright, across = within(rows, crop.left, crop.right), within(columns.T, crop.top, crop.bottom)
        (top, bottom), (left, right) = pair(upright, rules=rules), pair(across, rules=rules)
        crop = Crop(top=top, bottom=bottom, left=left, right=right)
    around = bool(crop.top and crop.left)
    large = (1 - crop.top - crop.bottom) * (1 - crop.left - crop.right) >= rules.kept
    return crop if crop and (large or not around) and is_filled(track, crop, rules=rules) else Crop()
