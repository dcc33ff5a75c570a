"""An analytic judge of pixels: what things a video shows, how they look and move. It knows nothing of the models.

- It judges frame by frame: the ground is the median of the border, a thing is a blob that differs from the ground.
- Colour is the blob's core against the palette; shape is the best overlap with an ideal shape of the same area and
  centroid; each has a verdict None when nothing is close enough, so that a blur is never called a circle.
- An attribute holds for a video when it holds in at least nine tenths of the judged frames; the motion is judged over
  every window of a third of a second. For conditioned samples, hand in only the frames that were not given.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from datamodules.shapes.draw import coverage
from datamodules.shapes.scene import COLOURS, GROUNDS, MOTIONS, SHAPES, SPEEDS, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ATTRIBUTES = ("things", "colour", "shape", "size", "motion", "ground", "in_frame")
SHARE = 0.9  # of the frames in which an attribute must hold
FAR = 75.0  # RGB distance beyond which a colour is none of the palette
CONTRAST = 55.0  # RGB distance from the ground that makes a pixel part of a thing
OVERLAP = 0.80  # least overlap (intersection over union) of a blob with its ideal shape
SMALL = 0.2325  # radius in short sides that parts small from large
SMALLEST, LARGEST = 0.14, 0.31
WINDOW = 1 / 3  # seconds over which motion is judged
STILL = 0.016  # short sides of movement in a window that still count as standing


@dataclass(frozen=True)
class Blob:
    """One thing in one frame; names are None where nothing of the palette fits. Lengths in short sides."""

    row: float
    column: float
    radius: float
    colour: str | None
    shape: str | None
    inside: bool

    @property
    def size(self) -> str | None:
        """Small, large, or None when far from both."""
        if not SMALLEST < self.radius < LARGEST:
            return None
        return "small" if self.radius < SMALL else "large"


@dataclass(frozen=True)
class Verdict:
    """What a video shows: per thing its (size, colour, shape), each a name or None."""

    things: tuple[tuple[str | None, str | None, str | None], ...]
    ground: str | None
    motion: str | None
    speed: str | None
    in_frame: bool


def judge(frames: NDArray[np.uint8], *, fps: float = 12.0) -> Verdict:
    """The verdict on a video.

    Args:
        frames: (t, h, w, 3) uint8; only the frames to be judged.
        fps: frames a second.
    """
    grounds, blobs = zip(*(_look(frame) for frame in frames), strict=True)
    ground = _agreed(grounds)
    counts = Counter(len(found) for found in blobs)
    count = counts.most_common(1)[0][0]
    full = [found for found in blobs if len(found) == count]
    if not count or counts[count] < SHARE * len(frames):
        return Verdict((), ground, None, None, False)
    tracks = _follow(full)
    things = tuple(
        (_agreed([b.size for b in t]), _agreed([b.colour for b in t]), _agreed([b.shape for b in t])) for t in tracks
    )
    moves = {_motion(track, fps=fps) for track in tracks} if len(frames) > 1 else {(None, None)}
    motion, speed = moves.pop() if len(moves) == 1 else (None, None)
    return Verdict(things, ground, motion, speed, all(b.inside for t in tracks for b in t) and len(full) == len(frames))


def score(verdict: Verdict, scene: Scene) -> dict[str, bool]:
    """Which attributes of a scene the verdict confirms; `all` is their conjunction."""
    wanted = sorted((t.size, t.colour, t.shape) for t in scene.things)
    seen = sorted(verdict.things, key=lambda names: tuple(name or "" for name in names))
    right = {"things": len(wanted) == len(seen)}
    for place, name in enumerate(("size", "colour", "shape")):
        right[name] = sorted(str(t[place]) for t in seen) == sorted(t[place] for t in wanted)
    right["motion"] = scene.motion is None or verdict.motion == scene.motion
    right["ground"] = verdict.ground == scene.ground
    right["in_frame"] = verdict.in_frame
    right["all"] = all(right.values()) and (len(wanted) == 1 or seen == wanted)
    return right


def speed_right(verdict: Verdict, scene: Scene) -> bool:
    """Whether the speed fits too; reported beside the attributes, not among them."""
    return scene.speed is None or verdict.speed == scene.speed


def _agreed(names: Sequence[str | None]) -> str | None:
    """The name that holds in nearly all frames, else None."""
    name, count = Counter(names).most_common(1)[0]
    return name if count >= SHARE * len(names) else None


def _nearest(colour: NDArray[np.float64], palette: dict[str, tuple[int, int, int]]) -> str | None:
    distances = {name: float(np.linalg.norm(colour - np.array(value))) for name, value in palette.items()}
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] < FAR else None


def _look(frame: NDArray[np.uint8]) -> tuple[str | None, list[Blob]]:
    """Ground and things of one frame (h, w, 3)."""
    height, width = frame.shape[:2]
    pixels = frame.astype(np.float64)
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    ground = np.median(border, axis=0)
    different = np.linalg.norm(pixels - ground, axis=-1) > CONTRAST
    count, labels, stats, _ = cv2.connectedComponentsWithStats(different.astype(np.uint8), connectivity=4)
    least = np.pi * (0.06 * min(height, width)) ** 2
    places = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= least]
    return _nearest(ground, GROUNDS), [_blob(pixels, ground, labels == n, stats[n]) for n in places]


def _blob(
    pixels: NDArray[np.float64], ground: NDArray[np.float64], mask: NDArray[np.bool_], box: NDArray[np.int32]
) -> Blob:
    height, width = mask.shape
    short = min(height, width)
    core = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    colour = np.median(pixels[core if core.any() else mask], axis=0)
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    contrast = colour - ground
    alpha = np.clip((pixels - ground) @ contrast / max(contrast @ contrast, 1.0), 0.0, 1.0) * near
    area = alpha.sum()
    row = float((alpha.sum(1) @ (np.arange(height) + 0.5)) / area)
    column = float((alpha.sum(0) @ (np.arange(width) + 0.5)) / area)
    radius = float(np.sqrt(area / np.pi))
    left, top, wide, tall = box[:4]
    inside = left > 0 and top > 0 and left + wide < width and top + tall < height
    overlaps, outline = {}, sharp(alpha)
    for shape in SHAPES:
        ideal = sharp(coverage(shape, row=row, column=column, radius=radius, height=height, width=width))
        overlaps[shape] = float(np.minimum(outline, ideal).sum() / np.maximum(outline, ideal).sum())
    best = max(overlaps, key=overlaps.__getitem__)
    return Blob(
        row=row / short,
        column=column / short,
        radius=radius / short,
        colour=_nearest(colour, COLOURS),
        shape=best if overlaps[best] >= OVERLAP else None,
        inside=bool(inside),
    )


def sharp(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coverage with its edges three times as steep: a soft edge is no other shape."""
    return np.clip(3 * (alpha - 0.5) + 0.5, 0.0, 1.0)


def _follow(frames: Sequence[list[Blob]]) -> list[list[Blob]]:
    """One track a thing: each frame's blobs matched to the nearest of the frame before (one or two things)."""
    tracks = [[blob] for blob in frames[0]]
    for before, found in pairwise(frames):
        del before
        rest = list(found)
        for track in tracks:
            last = track[-1]
            nearest = min(rest, key=lambda b: (b.row - last.row) ** 2 + (b.column - last.column) ** 2)
            rest.remove(nearest)
            track.append(nearest)
    return tracks


def _motion(track: Sequence[Blob], *, fps: float) -> tuple[str | None, str | None]:
    """Direction and speed that hold in nearly all windows; ("still", None) when nothing moves."""
    window = max(1, min(round(WINDOW * fps), len(track) - 1))
    seconds = window / fps
    names: list[str | None] = []
    along = []
    for first, last in zip(track, track[window:], strict=False):
        move = np.array([last.row - first.row, last.column - first.column])
        still = STILL * window / max(round(WINDOW * fps), 1)
        if np.abs(move).max() < still:
            names.append("still")
            continue
        name = max(MOTIONS, key=lambda n: float(move @ np.array(MOTIONS[n])))
        forward = float(move @ np.array(MOTIONS[name]))
        names.append(name if np.abs(move).min() < 0.5 * forward else None)
        along.append(forward / seconds)
    motion = _agreed(names)
    if motion is None or motion == "still":
        return motion, None
    middle = (SPEEDS["slowly"][1] + SPEEDS["quickly"][0]) / 2
    return motion, "quickly" if float(np.median(along)) > middle else "slowly"
