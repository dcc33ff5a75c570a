"""Frames of a video as RGB arrays: streamed one by one, or read whole.

- Colours are converted with the file's own matrix and range; where it names none, BT.709 from 720 lines up and BT.601
  below, as players do.
- Rotation and the pixel aspect ratio are applied, so an array is what a viewer sees.
- Limits hold frame by frame; a damaged frame, and a file that ends well before its header says, is a DataError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dit_video.errors import DataError
from dit_video.media.probe import UNSPECIFIED, Limits, Probe, check, describe, label, open_video, shown_size

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

HD_LINES = 720
TIE = 1e-6  # seconds; of two equally near frames the earlier one
WHOLE = 0.9  # a file with fewer of its declared frames than this is cut off


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One shown frame: `time` in seconds from the first frame, `image` uint8 (h, w, 3) RGB."""

    time: float
    image: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Video:
    """A whole video: `frames` uint8 (t, h, w, 3) RGB, `times` float64 (t,) seconds from the first frame, mean `fps`."""

    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    fps: float


def fitted(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """`size` scaled down so that its longer side is at most `longest`."""
    if longest is None or max(size) <= longest:
        return size
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def to_rgb(
    frame: VideoFrame, reformatter: VideoReformatter, *, size: tuple[int, int], rotation: int
) -> NDArray[np.uint8]:
    """`frame` as uint8 (h, w, 3) RGB of `size` (height, width) after turning it `rotation` degrees counterclockwise."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    height, width = (size[1], size[0]) if rotation % 180 else size
    matrix = None
    if frame.colorspace in {0, UNSPECIFIED}:
        matrix = Colorspace.ITU709 if max(frame.height, 1) >= HD_LINES else Colorspace.ITU601
    shown = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
        threads=1,
    )
    image: NDArray[np.uint8] = np.asarray(shown.to_ndarray(), dtype=np.uint8)
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


@contextmanager
def reader(
    source: Path | str | bytes,
    *,
    limits: Limits = Limits(),  # noqa: B008
    longest: int | None = None,
) -> Iterator[tuple[Probe, Iterator[Frame]]]:
    """The header of a video and its frames, decoded one after another; `longest` scales them down to that longer side.

    DataError for an unreadable, damaged, cut off or too costly file: at once, or at the frame where it shows.
    """
    name = label(source)
    with open_video(source) as (container, stream):
        header = describe(container, stream, 0)
        check(header, source=source, limits=limits)
        decoded = container.decode(stream)
        first = next(decoded, None)
        if first is None:
            raise DataError(f"{name} has no frames")
        rotation = int(first.rotation) % 360
        header = describe(container, stream, rotation)
        timed = stamped(chain([first], decoded), name=name, step=1 / (header.fps or 25.0), limits=limits)
        yield header, shown(timed, stream, name=name, header=header, longest=longest)


def stamped(
    decoded: Iterable[VideoFrame], *, name: str, step: float, limits: Limits
) -> Iterator[tuple[float, VideoFrame]]:
    """Decoded frames with rising times from 0, held against the limits."""
    start, last = None, -step
    for count, frame in enumerate(decoded):
        if frame.is_corrupt:
            raise DataError(f"{name}: frame {count} is damaged")
        if frame.width * frame.height > limits.pixels or count >= limits.frames:
            raise DataError(
                f"{name}: frame {count} exceeds the limits of {limits.pixels} pixels, {limits.frames} frames"
            )
        time = float(frame.time) if frame.time is not None else (start or 0.0) + last + step
        start = time if start is None else start
        last = max(time - start, last + 1e-4)
        if last > limits.seconds:
            raise DataError(f"{name}: longer than the limit of {limits.seconds:.0f} seconds")
        yield last, frame


def shown(
    timed: Iterable[tuple[float, VideoFrame]], stream: VideoStream, *, name: str, header: Probe, longest: int | None
) -> Iterator[Frame]:
    """Frames as RGB; DataError at the end if much fewer came than the header says."""
    from av.video.reformatter import VideoReformatter

    reformatter, count = VideoReformatter(), 0
    for time, frame in timed:
        size = fitted(shown_size(stream, header.rotation), longest)
        yield Frame(time=time, image=to_rgb(frame, reformatter, size=size, rotation=header.rotation))
        count += 1
    if count < WHOLE * header.frames:
        raise DataError(f"{name} is cut off: {count} of {header.frames} frames")


def frames(
    source: Path | str | bytes,
    *,
    limits: Limits = Limits(),  # noqa: B008
    longest: int | None = None,
) -> Iterator[Frame]:
    """The frames of a video one by one, in order of time; as `reader`."""
    with reader(source, limits=limits, longest=longest) as (_, found):
        yield from found


def measured_fps(times: NDArray[np.float64], *, header: float) -> float:
    """Frames per second by the time stamps, or the header's figure where both agree to 2 % (it is the exact one)."""
    if len(times) < 2 or times[-1] <= times[0]:
        return header or 25.0
    fps = (len(times) - 1) / float(times[-1] - times[0])
    if header and abs(fps / header - 1) < 0.02:
        return header
    return float(Fraction(fps).limit_denominator(1001))


def read(source: Path | str | bytes, *, limits: Limits = Limits()) -> Video:  # noqa: B008
    """All frames of a path or of the bytes of a file. DataError as `frames`, and beyond `limits.volume` pixels."""
    images, times, volume = [], [], 0
    with reader(source, limits=limits) as (header, found):
        for frame in found:
            volume += frame.image.shape[0] * frame.image.shape[1]
            if volume > limits.volume:
                raise DataError(f"{label(source)}: more than {limits.volume} pixels in all; cut it into clips first")
            images.append(frame.image)
            times.append(frame.time)
    if len({image.shape for image in images}) > 1:
        raise DataError(f"{label(source)} changes its size midway")
    stamps = np.asarray(times)
    return Video(frames=np.stack(images), times=stamps, fps=measured_fps(stamps, header=header.fps))


def nearest(times: NDArray[np.float64], *, fps: float, start: float, count: int) -> NDArray[np.int64]:
    """Which of the frames at `times` is nearest to each of `count` moments `start`, `start + 1 / fps`, ..."""
    moments = start + np.arange(count) / fps
    after = np.clip(np.searchsorted(times, moments), 1, max(len(times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(moments - times[before] <= times[after] - moments + TIE, before, after).astype(np.int64)
