"""The first pass over a video: what is noted of each small frame as it comes, and of a frame every quarter second more.

- A pass keeps no frames: of each it keeps a picture and the flow at 16x16, and a few numbers; of a look three maps of
  64 columns. So an hour of video takes less than 300 MB.
- Maps, not means: borders are known at the end alone, and are cut off the maps before the scores are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from datamodules.prepare.curation.cuts import Change, Scorer, maybe_cut
from datamodules.prepare.curation.fades import SIDE
from datamodules.prepare.curation.text import Text, text_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOK_SECONDS = 0.25
MOST_LOOKS = 4000
LINES = 480  # short side at which sharpness and text are judged
COLUMNS = 64  # of the maps
FLOW_SIDE = 128  # longer side of the frames of which the flow is taken
FLOW_SECONDS = 0.11  # between two flows, at least: neighbours are alike, and a flow costs as much as all else together
THUMBNAIL = 96  # longer side
BLOCK = 8  # pixels
REPEATED = 1.5  # a frame of which no block changes by more than this, of 255, repeats the one before


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is kept of frame `at`: maps float16 (h, 64) of luma, squared Laplacian and text, and a small JPEG."""

    at: int
    luma: NDArray[np.float16]
    detail: NDArray[np.float16]
    text: NDArray[np.float16]
    thumbnail: bytes


@dataclass(kw_only=True)
class Track:
    """What is known of the frames of a video so far, one entry a frame; `looks` are fewer.

    `flow` (16, 16): optical flow from the frame before, in short sides; NaN where it was not taken.
    `difference`: mean difference to it, 0 to 255.
    `repeated`: whether it is the same but for noise.
    `rows` (h, 64) and `columns` (64, w): the lightest that each place ever was, for borders.
    """

    text: Text = field(default_factory=Text)
    times: list[float] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    flow: list[NDArray[np.float16]] = field(default_factory=list)
    difference: list[float] = field(default_factory=list)
    repeated: list[bool] = field(default_factory=list)
    interlaced: int = 0
    looks: list[Look] = field(default_factory=list)
    rows: NDArray[np.uint8] | None = None
    columns: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.times)


def resized(image: NDArray[np.uint8], *, longest: int) -> NDArray[np.uint8]:
    """`image` scaled down by area so that its longer side is at most `longest`."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """RGB (h, w, 3) as a JPEG of at most `THUMBNAIL` pixels."""
    small = cv2.cvtColor(resized(image, longest=THUMBNAIL), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1])


def look_at(luma: NDArray[np.uint8], image: NDArray[np.uint8], *, at: int, text: Text) -> Look:
    """The maps of a frame by its full luma (h, w), and its thumbnail by a small RGB `image`."""
    height, width = luma.shape
    scale = min(1.0, LINES / min(height, width))
    judged = resized(luma, longest=max(1, round(scale * max(height, width))))
    size = (COLUMNS, max(1, round(COLUMNS * height / width)))
    detail = cv2.Laplacian(judged, cv2.CV_32F) ** 2
    maps = {"luma": judged, "detail": np.minimum(detail, 60_000), "text": text_mask(judged, rules=text)}
    small = {
        name: cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA).astype(np.float16)
        for name, values in maps.items()
    }
    return Look(at=at, thumbnail=thumbnail(image), **small)


class Pass:
    """Fills a `Track` frame by frame: `see` each small image, and `look` closer where it says so."""

    def __init__(self, *, seconds: float, text: Text, threshold: float) -> None:
        self.track = Track(text=text)
        self.scorer, self.flower = Scorer(), cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.every, self.threshold = max(LOOK_SECONDS, seconds / MOST_LOOKS), threshold
        self.grey: NDArray[np.uint8] | None = None
        self.next = self.flow_next = 0.0

    def see(self, image: NDArray[np.uint8], *, time: float, interlaced: bool) -> bool:
        """Note a frame, RGB (h, w, 3); whether it should be looked at."""
        track = self.track
        change = self.scorer.change(image)
        grey = resized(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), longest=FLOW_SIDE)
        self.compare(grey, time=time)
        track.times.append(time)
        track.changes.append(change)
        track.pictures.append(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8))
        track.interlaced += interlaced
        self.grey = grey
        due = time >= self.next or maybe_cut(change, threshold=self.threshold)
        due = due and len(track.looks) < 2 * MOST_LOOKS
        self.next = time + self.every if due else self.next
        return due

    def compare(self, grey: NDArray[np.uint8], *, time: float) -> None:
        """Note how a small grey frame differs from the last."""
        flow, difference, repeated = np.zeros((SIDE, SIDE), np.float32), 0.0, False
        if self.grey is not None and self.grey.shape == grey.shape:
            change = cv2.absdiff(self.grey, grey).astype(np.float32)
            blocks = max(1, grey.shape[1] // BLOCK), max(1, grey.shape[0] // BLOCK)
            repeated = float(cv2.resize(change, blocks, interpolation=cv2.INTER_AREA).max()) < REPEATED
            difference = float(change.mean())
            if not repeated and min(grey.shape) >= 2 * BLOCK and time < self.flow_next:
                flow = np.full((SIDE, SIDE), np.nan, np.float32)
            elif not repeated and min(grey.shape) >= 2 * BLOCK:
                self.flow_next = time + FLOW_SECONDS
                flows = self.flower.calc(self.grey, grey, None)  # type: ignore[call-overload]
                speed = np.hypot(flows[..., 0], flows[..., 1]) / min(grey.shape)
                flow = cv2.resize(speed, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        self.track.flow.append(flow.astype(np.float16))
        self.track.difference.append(difference)
        self.track.repeated.append(repeated)

    def look(self, luma: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
        """Look at the frame seen last: its full `luma` (h, w), and the small RGB `image`."""
        track, (height, width) = self.track, luma.shape
        rows = cv2.resize(luma, (COLUMNS, height), interpolation=cv2.INTER_AREA)
        columns = cv2.resize(luma, (width, COLUMNS), interpolation=cv2.INTER_AREA)
        fits = track.rows is not None and track.columns is not None and track.rows.shape[0] == height
        track.rows = np.maximum(track.rows, rows) if fits else rows  # type: ignore[arg-type]
        track.columns = np.maximum(track.columns, columns) if fits else columns  # type: ignore[arg-type]
        track.looks.append(look_at(luma, image, at=len(track) - 1, text=track.text))
