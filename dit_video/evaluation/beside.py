"""Originals beside copies and their errors, as frames of one video that a browser plays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

GAIN = 8  # times the error as it is shown: 32 levels of 255 are the brightest
SMALL, LARGE = 96, 320  # pixels of a panel's height on a page: tiny ones are enlarged, large ones scaled down
GAP = 4  # pixels between panels
GREY = 128
RAMP = np.array(  # from no error to the largest: black, violet, orange, near white
    [[0, 0, 0], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float32
)


def error_map(frame: Frame, copy: Frame) -> Frame:
    """The error of a copy as a picture (h, w, 3): the mean over colours times `GAIN`, black where there is none."""
    error = np.abs(copy.astype(np.float32) - frame).mean(-1) * (GAIN / 255)
    place = np.clip(error, 0, 1) * (len(RAMP) - 1)
    below = np.minimum(place.astype(np.int64), len(RAMP) - 2)
    part = (place - below)[..., None]
    return np.round(RAMP[below] * (1 - part) + RAMP[below + 1] * part).astype(np.uint8)


def panel(image: Frame) -> Frame:
    """An image in the size of a page: by whole pixels where it is tiny, by area where it is large."""
    import cv2

    height, width = image.shape[:2]
    if height <= SMALL:
        times = SMALL // height + 1
        return image.repeat(times, 0).repeat(times, 1)
    if height <= LARGE:
        return image
    scaled = cv2.resize(image, (max(2, round(width * LARGE / height)), LARGE), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def beside(frame: Frame, copies: Sequence[Frame]) -> Frame:
    """One image (h, w, 3): original, copy, error map; of several copies a row, their error maps below them."""
    errors = [error_map(frame, copy) for copy in copies]
    if len(copies) == 1:
        return row([frame, copies[0], errors[0]])
    top, bottom = row([frame, *copies]), row([np.full_like(frame, GREY), *errors])
    return np.concatenate([top, np.full((GAP, *top.shape[1:]), GREY, np.uint8), bottom])


def row(images: Sequence[Frame]) -> Frame:
    """Panels beside each other."""
    panels = [panel(image) for image in images]
    gap = np.full((panels[0].shape[0], GAP, 3), GREY, np.uint8)
    return np.concatenate([part for image in panels for part in (gap, image)][1:], axis=1)
