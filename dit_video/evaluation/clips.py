"""Clips to evaluate on: read when they are needed, frame by frame, at the rate and size that are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dit_video.errors import DataError
from dit_video.media.fit import SLACK, cover
from dit_video.media.image import read_image
from dit_video.media.probe import probe
from dit_video.media.read import TIE, reader
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from dit_video.media.read import Frame

    Image = NDArray[np.uint8]

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What is taken of a video: at most `frames` at `fps`, from a `start` (a share of its length) on, at a `size`.

    None is the video's own rate or size; `size` is (height, width), frames are scaled to cover it and cropped.
    """

    frames: int
    fps: float | None = None
    size: tuple[int, int] | None = None
    start: float = 0.0

    def count(self, seconds: float, native: float) -> int:
        """About how many frames there are of a video of so many seconds."""
        return max(1, min(self.frames, math.floor((1 - self.start) * seconds * (self.fps or native) + SLACK)))


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A video or picture: its name, what opens it (path or bytes), and how it is shown."""

    name: str
    load: Callable[[], Path | bytes]
    image: bool
    fps: float
    seconds: float

    def frames(self, cut: Cut) -> Iterator[Image]:
        """Its frames (h, w, 3), as they are decoded; DataError where they cannot be."""
        source = self.load()
        if self.image:
            yield sized(read_image(source), cut.size)
            return
        with reader(source) as (_, found):
            late = (frame for frame in found if frame.time >= cut.start * self.seconds)
            for image in islice(paced(late, fps=cut.fps), cut.frames):
                yield sized(image, cut.size)


def sized(image: Image, size: tuple[int, int] | None) -> Image:
    """An image at a (height, width), or as it is."""
    return image if size is None else cover(image, *size)


def paced(frames: Iterable[Frame], *, fps: float | None) -> Iterator[Image]:
    """For every moment from the first frame on, `1 / fps` apart, the frame nearest to it; all frames without a rate."""
    before: Frame | None = None
    start, count = 0.0, 0
    for frame in frames:
        if fps is None:
            yield frame.image
            continue
        if before is None:
            start = frame.time
        while before is not None and 2 * (start + count / fps) <= before.time + frame.time + TIE:
            yield before.image
            count += 1
        before = frame
    while fps is not None and before is not None and start + (count - SLACK) / fps <= before.time:
        yield before.image
        count += 1


def in_folder(source: Path, *, most: int) -> list[Clip]:
    """At most `most` of the videos and pictures of a folder, or the one that a file is; DataError where there is none.

    Which of more are taken is keyed by their names.
    """
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    names = {path: path.name if path == source else path.relative_to(source).as_posix() for path in files}
    found: list[Clip] = []
    for path in sorted(files, key=lambda path: seed_for(0, "clips to evaluate", names[path])):
        if len(found) < most and (clip := of_file(path, names[path])):
            found.append(clip)
    if not found:
        raise DataError(f"source={source} has no video and no picture; expected a folder with some, or a dataset")
    return sorted(found, key=lambda clip: clip.name)


def of_file(path: Path, name: str) -> Clip | None:
    """The clip of a file, or None where it is no video and no picture."""
    if path.suffix.lower() in PICTURES:
        return Clip(name=name, load=lambda: path, image=True, fps=1.0, seconds=0.0)
    try:
        header = probe(path)
    except DataError:
        return None
    return Clip(name=name, load=lambda: path, image=False, fps=header.fps or 25.0, seconds=header.seconds)
