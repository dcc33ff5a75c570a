"""Fades and dissolves: shots that melt into black, white or one another.

- Frames are looked at as pictures of 16x16 pixels. In a transition they go straight from the first to the last, since
  each is a mixture of both: the way from frame to frame is hardly longer than the distance. In a moving picture it is
  much longer, as one part changes after the other.
- What is at the ends must be unlike; so a change of the light is none. A cut goes straight too, but in one step.
- A mixture of two pictures has half their detail. So a slow pan over a texture, which goes straight as well, is none.
- A flash is a picture that is the same after a few frames as it was before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 16  # pixels of the pictures
Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Fades:
    """What counts as a transition.

    `straight`: distance between its ends over the way between them, at least. `astray`: how far half of its frames may
    lie from the straight line, of that distance. `change`: mean distance of its ends, of 255, at least. `alike`:
    correlation of its ends, at most. `detail`: of its middle, over the mean of its ends, at most. `seconds`: shortest
    and longest one. `flat`: standard deviation, of 255, of a picture that is all black or white.
    """

    straight: float = 0.7
    astray: float = 0.2
    change: float = 12.0
    alike: float = 0.6
    detail: float = 0.75
    seconds: tuple[float, float] = (0.2, 2.5)
    flat: float = 2.5


def flat(pictures: NDArray[np.uint8], *, most: float) -> NDArray[np.bool_]:
    """Which pictures (n, h, w, 3) are black or white all over."""
    grey = pictures.astype(np.float32).mean(-1).reshape(len(pictures), -1)
    mean, spread = grey.mean(1), grey.std(1)
    return np.asarray((spread < most) & ((mean < 16) | (mean > 239)))


def runs(marked: NDArray[np.bool_]) -> list[Span]:
    """Spans [start, end) of places that are marked."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def alike(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Correlation of two pictures; 0 where one has no contrast."""
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norm if norm > first.size * 1e-3 else 0.0


def flash(pictures: NDArray[np.uint8], first: int, second: int) -> bool:
    """Whether the picture before frame `first` is that from frame `second` on."""
    if first < 1 or second >= len(pictures):
        return False
    before, after = (pictures[at].astype(np.float32).ravel() for at in (first - 1, second))
    return bool(np.abs(before - after).mean() < 16 and alike(before, after) > 0.8)


def astray(flown: NDArray[np.float32]) -> float:
    """Median distance of pictures as vectors (n, d) from the line from the first to the last, in its length."""
    way = flown[-1] - flown[0]
    inner = flown[1:-1] - flown[0]
    off = inner - np.outer(inner @ way / (way @ way), way)
    return float(np.median(np.linalg.norm(off, axis=1)) / np.linalg.norm(way))


def mixed(detail: NDArray[np.float64], start: int, end: int, *, rules: Fades) -> bool:
    """Whether frames in the middle of a window have less detail than its first and last."""
    third = (end - start) // 3
    ends = (detail[start] + detail[end]) / 2
    return bool(np.median(detail[start + third : end - third + 1]) <= rules.detail * ends)


def straightest(
    flown: NDArray[np.float32], detail: NDArray[np.float64], length: int, *, rules: Fades
) -> list[tuple[float, Span]]:
    """Windows of `length` steps that pass, with how well; `flown` are pictures as vectors (n, d)."""
    steps = np.linalg.norm(np.diff(flown, axis=0), axis=1)
    ways = np.concatenate(([0.0], np.cumsum(steps)))
    way = ways[length:] - ways[:-length]
    ends = flown[length:] - flown[:-length]
    distance = np.linalg.norm(ends, axis=1)
    enough = np.abs(ends).mean(1) >= rules.change
    found = []
    for start in np.flatnonzero(enough & (distance >= rules.straight * way)).tolist():
        end = start + length
        even = steps[start:end].max() <= 0.4 * distance[start]
        unlike = even and alike(flown[start], flown[end]) <= rules.alike
        if unlike and mixed(detail, start, end, rules=rules) and astray(flown[start : end + 1]) <= rules.astray:
            found.append((float(distance[start] * (distance[start] / way[start]) ** 4), (start, end)))
    return found


def stretched(flown: NDArray[np.float32], span: Span, *, longest: int) -> Span:
    """A window with the frames around it that go on in its direction, at a third of its speed or faster."""
    start, end = span
    way = flown[end] - flown[start]
    least = float(way @ way) / (end - start) / 3
    while start > 0 and end - start < longest and float((flown[start] - flown[start - 1]) @ way) > least:
        start -= 1
    while end < len(flown) - 1 and end - start < longest and float((flown[end + 1] - flown[end]) @ way) > least:
        end += 1
    return start, end


def tightened(flown: NDArray[np.float32], span: Span) -> Span:
    """The frames of a window that are neither its first picture nor its last, but mixed: [start, end)."""
    first, last = flown[span[0]], flown[span[1]]
    way = last - first
    shares = (flown[span[0] : span[1] + 1] - first) @ way / (way @ way)
    inner = np.flatnonzero((shares > 0.03) & (shares < 0.97))
    return (span[0] + int(inner[0]), span[0] + int(inner[-1]) + 1) if len(inner) else (span[0] + 1, span[1])


def melting(pictures: NDArray[np.uint8], detail: NDArray[np.float64], *, fps: float, rules: Fades) -> list[Span]:
    """Spans [start, end) of the frames in fades and dissolves, in order.

    `pictures` are (n, 16, 16, 3), `detail` (n,) is how much is in each that they do not show.
    """
    flown = pictures.reshape(len(pictures), -1).astype(np.float32)
    shortest, longest = (max(3, round(seconds * fps)) for seconds in rules.seconds)
    lengths = np.unique(np.geomspace(shortest + 1, longest + 1, 10).round().astype(int)).tolist()
    found = [
        each for length in lengths if length < len(flown) for each in straightest(flown, detail, length, rules=rules)
    ]
    taken: list[Span] = []
    for _, span in sorted(found, key=lambda each: -each[0]):
        if all(span[1] <= other[0] or span[0] >= other[1] for other in taken):
            taken.append(stretched(flown, span, longest=longest))
    return sorted(tightened(flown, span) for span in taken)
