"""The bucket table: which size, of a few, a clip is brought to.

- Given by hand as "FRAMESxHEIGHTxWIDTH", or generated: all sizes in steps of `multiple` under a pixel budget.
- A clip takes the nearest aspect ratio, the largest size of that ratio that it fills, then the most frames it has.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dit_video.errors import ConfigError
from dit_video.shapes import VideoShape

WIDEST = 4.0  # aspect ratios from 1:4 to 4:1
ALIKE = 0.06  # difference of two aspect ratios, as a logarithm, that a crop may level


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """A table of sizes; `frames` of each (height, width) in rising order."""

    table: dict[tuple[int, int], tuple[int, ...]]
    nearest: dict[tuple[int, int, int], tuple[int, int] | None] = field(default_factory=dict, compare=False)

    @cached_property
    def firsts(self) -> list[int]:
        """The smallest frame counts of sizes, rising."""
        return sorted({counts[0] for counts in self.table.values()})

    def choose(self, *, frames: int, height: int, width: int) -> VideoShape | None:
        """The bucket of a clip of this size and this many frames at the recipe's rate; None where these are too few."""
        asked = (bisect.bisect_right(self.firsts, frames), height, width)  # as far as the size depends on the frames
        if asked not in self.nearest:
            sizes = [size for size, counts in self.table.items() if counts[0] <= frames]
            self.nearest[asked] = nearest_size(sizes, (height, width)) if sizes else None
        size = self.nearest[asked]
        if size is None:
            return None
        counts = self.table[size]
        return VideoShape(frames=counts[bisect.bisect_right(counts, frames) - 1], height=size[0], width=size[1])

    def shapes(self) -> list[VideoShape]:
        """Every bucket."""
        return [VideoShape(frames=f, height=h, width=w) for (h, w), counts in self.table.items() for f in counts]


def nearest_size(sizes: Sequence[tuple[int, int]], native: tuple[int, int]) -> tuple[int, int]:
    """Of sizes about as near in aspect ratio as any, the largest that needs no enlarging, or else the smallest."""
    wanted = math.log(native[1] / native[0])
    distance = {size: abs(math.log(size[1] / size[0]) - wanted) for size in sizes}
    least = min(distance.values())
    alike = [size for size in sizes if distance[size] <= max(least, ALIKE) + 1e-9]
    inside = [size for size in alike if size[0] <= native[0] and size[1] <= native[1]]
    if inside:
        return max(inside, key=lambda size: (size[0] * size[1], -distance[size], size))
    nearest = [size for size in sizes if distance[size] <= least + 1e-9]
    return min(nearest, key=lambda size: (size[0] * size[1], size))


def parse(text: str) -> VideoShape:
    """A bucket written as FRAMESxHEIGHTxWIDTH."""
    matched = re.fullmatch(r"(\d+)x(\d+)x(\d+)", str(text).strip())
    if matched is None:
        raise ConfigError(
            f"bucket {text!r} must be written FRAMESxHEIGHTxWIDTH, such as 17x48x64; change datamodules.sizes"
        )
    frames, height, width = map(int, matched.groups())
    return VideoShape(frames=frames, height=height, width=width)


def listed(sizes: Sequence[str], *, time: int, multiple: int) -> Buckets:
    """Buckets by hand; ConfigError where one cannot be compressed by `time` in frames and `multiple` in pixels."""
    table: dict[tuple[int, int], set[int]] = {}
    for text in sizes:
        shape = parse(text)
        if shape.frames < 1 or (shape.frames - 1) % time:
            raise ConfigError(f"bucket {text}: frames must be 1 + k*{time}; change datamodules.sizes")
        if shape.height < multiple or shape.width < multiple or shape.height % multiple or shape.width % multiple:
            raise ConfigError(
                f"bucket {text}: height and width must be multiples of {multiple}; change datamodules.sizes"
            )
        table.setdefault((shape.height, shape.width), set()).add(shape.frames)
    return Buckets(table={size: tuple(sorted(counts)) for size, counts in table.items()})


def generated(*, pixels: int, frames: int, time: int, multiple: int) -> Buckets:
    """All sizes of at most `pixels` in steps of `multiple`, aspect 1:4 to 4:1, of 1, 1 + time, ... `frames` frames."""
    units = pixels // (multiple * multiple)
    if units < 1:
        raise ConfigError(f"pixels={pixels} is less than one patch of {multiple}x{multiple}; raise datamodules.pixels")
    counts = tuple(range(1, frames + 1, time))
    if not counts:
        raise ConfigError(f"frames={frames} must be at least 1; change datamodules.frames")
    table = {}
    for rows in range(1, units + 1):
        for columns in range(1, units // rows + 1):
            if 1 / WIDEST <= columns / rows <= WIDEST:
                table[(rows * multiple, columns * multiple)] = counts
    return Buckets(table=table)


def buckets(*, sizes: Sequence[str] | None, pixels: int, frames: int, time: int, multiple: int) -> Buckets:
    """The table of a config: `sizes` by hand, or generated from `pixels` and `frames`."""
    if sizes:
        return listed(sizes, time=time, multiple=multiple)
    return generated(pixels=pixels, frames=frames, time=time, multiple=multiple)
