"""Scores of a clip or an image: numbers that training filters by. Nothing is dropped for them here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.prepare.curation.borders import Crop
from datamodules.prepare.curation.hashes import perceptual
from datamodules.prepare.curation.look import Look, Track, look_at, resized
from datamodules.prepare.curation.text import Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE = ("sharpness", "brightness", "contrast", "text")
TIME = ("motion", "still", "slides")
BORDERS = ("border_top", "border_bottom", "border_left", "border_right")
SOURCE = ("interlaced", "variable", "rotation", "hdr", "full_range")
SCORES = (*TIME, *PICTURE, *BORDERS, *SOURCE)
MOMENTS = (1 / 6, 1 / 2, 5 / 6)  # of a clip, at which it is hashed


def picture(looks: Sequence[Look], crop: Crop) -> dict[str, float]:
    """Scores of looks inside their borders, mean over the looks."""
    each = []
    for look in looks:
        place = crop.well_inside(*look.luma.shape)
        luma, detail, text = (part[place].astype(np.float64) for part in (look.luma, look.detail, look.text))
        each.append((detail.mean(), luma.mean() / 255, luma.std() / 255, text.mean()))
    return dict(zip(PICTURE, np.mean(each, axis=0).tolist(), strict=True))


def hashes(looks: Sequence[Look], crop: Crop) -> list[int]:
    """A perceptual hash of each look inside its borders."""
    return [perceptual(look.luma[crop.place(*look.luma.shape)]) for look in looks]


def motion(track: Track, span: tuple[int, int], crop: Crop, *, fps: float) -> dict[str, float]:
    """Scores of how frames [start, end) follow one another; NaN where there is but one."""
    start, end = span
    if end - start < 2:
        return dict.fromkeys(TIME, float("nan"))
    change = np.asarray(track.difference[start + 1 : end])
    flow = np.stack(track.flow[start + 1 : end]).astype(np.float64)
    moving = ~np.asarray(track.repeated[start + 1 : end])
    taken = moving & np.isfinite(flow[:, 0, 0])
    rows, columns = crop.well_inside(*flow.shape[1:])
    most = np.sort(change)[::-1][: math.ceil(len(change) / 10)]
    seconds = max(track.times[end - 1] - track.times[start], 0.5 / fps)
    return {
        "motion": moved(flow[taken][:, rows, columns], int(moving.sum())) / shorter(track, crop) / seconds,
        "still": float(np.mean(track.repeated[start + 1 : end])),
        "slides": float(most.sum() / change.sum()) if change.sum() > 0 else float("nan"),
    }


def moved(flow: NDArray[np.float64], count: int) -> float:
    """Flow of `count` frames that move, by those of which it was taken; NaN where of none."""
    return float(flow.mean()) * count if len(flow) else (float("nan") if count else 0.0)


def shorter(track: Track, crop: Crop) -> float:
    """The short side inside the borders, over that of the whole picture."""
    height, width = track.looks[0].luma.shape
    kept = height * (1 - crop.top - crop.bottom), width * (1 - crop.left - crop.right)
    return min(kept) / min(height, width)


def nearest_looks(track: Track, span: tuple[int, int], moments: Sequence[float]) -> list[Look]:
    """The looks of frames [start, end), or at worst beside them, that are nearest to shares of the span."""
    places = np.asarray([look.at for look in track.looks])
    inside = (places >= span[0]) & (places < span[1])
    allowed = np.flatnonzero(inside if inside.any() else np.ones_like(inside))
    wanted = [span[0] + share * (span[1] - span[0] - 1) for share in moments]
    return [track.looks[int(allowed[np.argmin(np.abs(places[allowed] - each))])] for each in wanted]


def clip_scores(
    track: Track, span: tuple[int, int], crop: Crop, *, fps: float, source: Mapping[str, float]
) -> dict[str, Any]:
    """All scores, and the hashes, of frames [start, end) of a video; `source` says how its file was."""
    within = [look for look in track.looks if span[0] <= look.at < span[1]]
    looks = within or nearest_looks(track, span, [0.5])
    borders = dict(zip(BORDERS, (crop.top, crop.bottom, crop.left, crop.right), strict=True))
    return {
        **motion(track, span, crop, fps=fps),
        **picture(looks, crop),
        **borders,
        **source,
        "hashes": hashes(nearest_looks(track, span, MOMENTS), crop),
    }


def image_scores(image: NDArray[np.uint8], *, text: Text) -> dict[str, Any]:
    """Scores of an RGB image (h, w, 3), NaN for those that only videos have, and its hash."""
    import cv2

    look = look_at(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), resized(image, longest=256), at=0, text=text)
    none = dict.fromkeys(SCORES, float("nan"))
    return {**none, **picture([look], Crop()), "hashes": hashes([look], Crop())}
