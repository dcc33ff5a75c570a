"""Hard cuts, and the spans of frames that become clips.

- The score of a frame is PySceneDetect's content value: the mean change of hue, saturation and lightness.
- A cut also changes most of the picture at once and stands out from the frames around it. A small thing that moves fast
  changes a small part; a pan or a shaking camera changes everything, frame after frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scenedetect.detectors import ContentDetector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NEIGHBOURS = 3
NOISE = 20  # change of a channel, of 255, below which a pixel is the same
CALM = 4.0  # score below which a frame is no cut, whatever the threshold


@dataclass(frozen=True, kw_only=True)
class Change:
    """How a frame differs from the one before: `score` 0 to 255, and `share` of the pixels that changed."""

    score: float
    share: float


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
        return Change(score=score, share=share)


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


def shots(changes: Sequence[Change], *, threshold: float) -> list[tuple[int, int]]:
    """Spans [start, end) of frames between cuts; they cover all frames."""
    starts = [0, *(at for at in range(1, len(changes)) if is_cut(changes, at, threshold=threshold))]
    return list(zip(starts, [*starts[1:], len(changes)], strict=True))


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
