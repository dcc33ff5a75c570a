"""Shots between cuts, fades and dissolves, and the spans of frames that become clips.

- The score of a frame is PySceneDetect's content value: the mean change of hue, saturation and lightness.
- A cut also changes most of the picture at once and stands out from the frames around it. A small thing that moves fast
  changes a small part; a pan or a shaking camera changes everything, frame after frame.
- A flash is no cut: after it the picture is as before. The frames of a fade or dissolve belong to no shot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scenedetect.detectors import ContentDetector

from datamodules.prepare.curation.fades import Fades, Span, alike, flash, flat, melting, runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NEIGHBOURS = 3
NOISE = 20  # change of a channel, of 255, below which a pixel is the same
CALM = 4.0  # score below which a frame is no cut, whatever the threshold
FLASH_SECONDS = 0.15
DETAIL = 64
ALIKE = 0.85  # correlation of pictures above which a shaking camera is between them, and no cut


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """`threshold`: change, 0 to 255, above which a frame may begin a new shot; `fades`: what is one, None for never."""

    threshold: float = 27.0
    fades: Fades | None = field(default_factory=Fades)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Spans [start, end) of the frames of a video: `shots`, and the `fades` and `dissolves` between them."""

    shots: list[Span]
    fades: list[Span]
    dissolves: list[Span]


@dataclass(frozen=True, kw_only=True)
class Change:
    """How a frame differs from the one before: `score` 0 to 255, and `share` of the pixels that changed.

    `detail` is its own.
    """

    score: float
    share: float
    detail: float = 0.0


class Scorer(ContentDetector):
    """Scores frames one after another; the first has no change."""

    def __init__(self) -> None:
        super().__init__()
        self.last: NDArray[np.uint8] | None = None

    def change(self, image: NDArray[np.uint8]) -> Change:
        """Change of an RGB uint8 (h, w, 3) frame against the one given before it."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        score = self._calculate_frame_score(None, bgr)
        share = 0.0
        if score >= CALM and self.last is not None and self.last.shape == bgr.shape:
            same = cv2.inRange(cv2.absdiff(bgr, self.last), (0, 0, 0), (NOISE, NOISE, NOISE))
            share = 1 - cv2.countNonZero(same) / same.size
        self.last = bgr
        return Change(score=score, share=share, detail=detail_of(bgr))


def detail_of(image: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of a picture (h, w, 3) at a width of `DETAIL` pixels, where noise is gone."""
    height, width = image.shape[:2]
    size = (min(DETAIL, width), max(1, round(height * min(1.0, DETAIL / width))))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return float(cv2.Laplacian(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), cv2.CV_32F).var())


def is_cut(changes: Sequence[Change], at: int, *, threshold: float) -> bool:
    """Whether frame `at` begins a new shot."""
    change = changes[at]
    around = [
        changes[i].score for i in range(max(1, at - NEIGHBOURS), min(len(changes), at + NEIGHBOURS + 1)) if i != at
    ]
    usual = float(np.median(around)) if around else 0.0
    plain = change.score >= threshold and change.score >= 1.7 * usual + 6 and change.share >= 0.4
    faint = change.score >= threshold / 3 and change.score >= 4 * usual + 2 and change.share >= 0.6
    return plain or faint


def maybe_cut(change: Change, *, threshold: float) -> bool:
    """Whether a frame may begin a new shot, as far as it can be told from itself."""
    return change.score >= threshold / 3 and change.share >= 0.4


def shots(changes: Sequence[Change], *, threshold: float) -> list[Span]:
    """Spans [start, end) of frames between hard cuts; they cover all frames."""
    return between([at for at in range(1, len(changes)) if is_cut(changes, at, threshold=threshold)], len(changes))


def between(starts: Sequence[int], count: int) -> list[Span]:
    """Spans of `count` frames that begin at 0 and at `starts`."""
    return list(zip([0, *starts], [*starts, count], strict=True))


def hard(changes: Sequence[Change], pictures: NDArray[np.uint8], *, threshold: float) -> list[int]:
    """Frames that begin a shot by a hard cut."""
    flown = pictures.reshape(len(pictures), -1).astype(np.float32)
    found = [at for at in range(1, len(changes)) if is_cut(changes, at, threshold=threshold)]
    return [at for at in found if alike(flown[at - 1], flown[at]) < ALIKE]


def without_flashes(starts: Sequence[int], pictures: NDArray[np.uint8], *, fps: float) -> list[int]:
    """Cuts but for those into and out of a flash."""
    longest = max(2, round(FLASH_SECONDS * fps))
    kept: list[int] = []
    for at in starts:
        if kept and at - kept[-1] <= longest and flash(pictures, kept[-1], at):
            kept.pop()
        else:
            kept.append(at)
    return kept


def split(changes: Sequence[Change], pictures: NDArray[np.uint8], *, fps: float, rules: Cuts) -> Split:
    """Shots and what lies between them, by the change of each frame and its picture (n, 16, 16, 3)."""
    count = len(changes)
    starts = without_flashes(hard(changes, pictures, threshold=rules.threshold), pictures, fps=fps)
    if rules.fades is None:
        return Split(shots=between(starts, count), fades=[], dissolves=[])
    longest = rules.fades.seconds[1] * fps
    dark = [
        (start, end)
        for start, end in runs(flat(pictures, most=rules.fades.flat))
        if end - start <= min(longest, count - 1) and not flash(pictures, start, end)
    ]
    detail = np.asarray([change.detail for change in changes])
    melted = melting(pictures, detail, fps=fps, rules=rules.fades)
    away = np.zeros(count, bool)
    for start, end in [*dark, *melted]:
        away[start:end] = True
    found = [
        (start + first, start + last)
        for start, end in between([at for at in starts if not away[at]], count)
        for first, last in runs(~away[start:end])
    ]
    spans = runs(away)
    faded = [span for span in spans if any(span[0] <= start < span[1] for start, _ in dark)]
    return Split(shots=found, fades=faded, dissolves=[span for span in spans if span not in faded])


def pieces(
    shot: tuple[int, int], times: NDArray[np.float64], *, fps: float, min_seconds: float, max_seconds: float
) -> list[tuple[int, int]]:
    """Spans of at most `max_seconds` that follow one another through a shot; one under `min_seconds` is dropped."""
    spans, start = [], shot[0]
    while start < shot[1]:
        end = int(np.searchsorted(times[: shot[1]], times[start] + max_seconds - 0.25 / fps))
        end = max(end, start + 1)
        if times[end - 1] - times[start] + 1 / fps >= min_seconds - 1e-6:
            spans.append((start, end))
        start = end
    return spans
