"""Frames of a video as RGB arrays: streamed one by one, read whole, or picked by their times.

- Colours become those of an ordinary display (`colour.to_rgb`).
- Of picked frames alone RGB is made, at once in the size that is asked for. Decoding begins at the key frame before the
  first and ends with the last.
- Rotation and the pixel aspect ratio are applied, so an array is what a viewer sees.
- Limits hold frame by frame; a damaged frame, and a file that ends well before its header says, is a DataError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain, dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dit_video.errors import DataError
from dit_video.media.colour import to_rgb
from dit_video.media.fields import woven
from dit_video.media.probe import Limits, Probe, check, describe, label, open_video, shown_size

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

TIE = 1e-6  # seconds; of two equally near frames the earlier one
WHOLE = 0.9  # a file with fewer of its declared frames than this is cut off

Size = tuple[int, int]
Fit = Callable[[Size], Size]
"""`fit((height, width))`: the size that frames of this size, as shown, are scaled to."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One shown frame: `time` in seconds from the first frame, `image` uint8 (h, w, 3) RGB; `decoded`, as it came."""

    time: float
    image: NDArray[np.uint8]
    decoded: VideoFrame


@dataclass(frozen=True, kw_only=True)
class Video:
    """A whole video: `frames` uint8 (t, h, w, 3) RGB, `times` float64 (t,) seconds from the first frame, mean `fps`."""

    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    fps: float


def fitted(size: Size, *, longest: int | None) -> Size:
    """`size` scaled down so that its longer side is at most `longest`."""
    if longest is None or max(size) <= longest:
        return size
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


@contextmanager
def opened(
    source: Path | str | bytes, *, limits: Limits, since: float = 0.0, deinterlace: bool = False
) -> Iterator[tuple[Probe, VideoStream, Iterator[tuple[float, VideoFrame]]]]:
    """The header of a video, its stream, and its frames with their times, not converted.

    With `since` they may begin later, but at a key frame that is shown `since` seconds after the first or sooner.
    """
    name = label(source)
    with open_video(source) as (container, stream):
        header = describe(container, stream, 0)
        check(header, source=source, limits=limits)
        decoded = container.decode(stream)
        first = next(decoded, None)
        if first is None:
            raise DataError(f"{name} has no frame that can be decoded")
        header = describe(container, stream, int(first.rotation) % 360)
        begun = from_key(container, stream, first=first, rest=decoded, since=since)
        if deinterlace:
            begun = woven(begun, stream)
        step = 1 / (header.fps or 25.0)
        yield header, stream, stamped(begun, name=name, origin=first.time, step=step, limits=limits)


def from_key(
    container: InputContainer, stream: VideoStream, *, first: VideoFrame, rest: Iterator[VideoFrame], since: float
) -> Iterator[VideoFrame]:
    """Frames from the last key frame that is shown at most `since` seconds after `first`, or from `first` on."""
    if since <= 0 or first.time is None or stream.time_base is None:
        return chain([first], rest)
    moment = first.time + since
    target = int(moment / stream.time_base)
    if stream.index_entries.search_timestamp(target) <= 0:  # the first key frame, or no index
        return chain([first], rest)
    container.seek(target, stream=stream)
    found = dropwhile(lambda frame: not frame.key_frame, container.decode(stream))
    key = next(found, None)
    if key is not None and key.time is not None and key.time <= moment:
        return chain([key], found)
    container.seek(first.pts or 0, stream=stream)
    return container.decode(stream)


@contextmanager
def reader(
    source: Path | str | bytes,
    *,
    limits: Limits = Limits(),  # noqa: B008
    longest: int | None = None,
    deinterlace: bool = False,
) -> Iterator[tuple[Probe, Iterator[Frame]]]:
    """The header of a video and its frames, decoded one after another; `longest` scales them down to that longer side.

    DataError for an unreadable, damaged, cut off or too costly file: at once, or at the frame where it shows.
    """
    with opened(source, limits=limits, deinterlace=deinterlace) as (header, stream, timed):
        fit = partial(fitted, longest=longest)
        yield header, shown(timed, stream, name=label(source), header=header, fit=fit)


def stamped(
    decoded: Iterable[VideoFrame], *, name: str, origin: float | None, step: float, limits: Limits
) -> Iterator[tuple[float, VideoFrame]]:
    """Decoded frames with rising times from `origin` on, held against the limits."""
    last = -step
    for count, frame in enumerate(decoded):
        if frame.is_corrupt:
            raise DataError(f"{name} is damaged: at frame {count}")
        if frame.width * frame.height > limits.pixels or count >= limits.frames:
            raise DataError(
                f"{name} exceeds a limit: at frame {count}, at most {limits.pixels} pixels and {limits.frames} frames"
            )
        time = last + step if frame.time is None else float(frame.time) - (origin or 0.0)
        last = max(time, last + 1e-4)
        if last > limits.seconds:
            raise DataError(f"{name} exceeds a limit: at most {limits.seconds:.0f} seconds")
        yield last, frame


def shown(
    timed: Iterable[tuple[float, VideoFrame]], stream: VideoStream, *, name: str, header: Probe, fit: Fit
) -> Iterator[Frame]:
    """Frames as RGB; DataError at the end if much fewer came than the header says."""
    from av.video.reformatter import VideoReformatter

    reformatter, count = VideoReformatter(), 0
    for time, frame in timed:
        size = fit(shown_size(stream, header.rotation))
        image = to_rgb(frame, reformatter, size=size, rotation=header.rotation)
        yield Frame(time=time, image=image, decoded=frame)
        count += 1
    if count < WHOLE * header.frames:
        raise DataError(f"{name} is cut off: {count} of {header.frames} frames")


def pick(
    source: Path | str | bytes,
    *,
    fps: float,
    start: float,
    count: int,
    fit: Fit = lambda size: size,
    limits: Limits = Limits(),  # noqa: B008
) -> NDArray[np.uint8]:
    """The frames nearest to `count` moments `start`, `start + 1 / fps`, ... in seconds, uint8 (count, h, w, 3).

    They are those of `read` and `nearest`, scaled to what `fit` makes of their size. DataError as `read`, but for
    frames after the last that is needed: they are not looked at.
    """
    from av.video.reformatter import VideoReformatter

    reformatter, last = VideoReformatter(), None
    images: list[NDArray[np.uint8]] = []
    with opened(source, limits=limits, since=start) as (header, stream, timed):
        for frame in nearest_of(timed, moments(fps=fps, start=start, count=count)):
            if frame is not last:
                size = fit(shown_size(stream, header.rotation))
                image = to_rgb(frame, reformatter, size=size, rotation=header.rotation)
            images.append(image)
            last = frame
    return joined(images, name=label(source))


def nearest_of(timed: Iterator[tuple[float, VideoFrame]], wanted: NDArray[np.float64]) -> Iterator[VideoFrame]:
    """The frame nearest to each of rising moments, taken from `timed` only as far as is needed to know it."""
    before, after = next(timed), next(timed, None)
    for moment in wanted.tolist():
        while after is not None and after[0] < moment:
            before, after = after, next(timed, None)
        first = after is None or moment - before[0] <= after[0] - moment + TIE
        yield before[1] if first or after is None else after[1]


def joined(images: list[NDArray[np.uint8]], *, name: str) -> NDArray[np.uint8]:
    """Images as one array; DataError where their sizes differ."""
    if len({image.shape for image in images}) > 1:
        raise DataError(f"{name} changes its size midway")
    return np.stack(images)


def frames(
    source: Path | str | bytes,
    *,
    limits: Limits = Limits(),  # noqa: B008
    longest: int | None = None,
    deinterlace: bool = False,
) -> Iterator[Frame]:
    """The frames of a video one by one, in order of time; as `reader`."""
    with reader(source, limits=limits, longest=longest, deinterlace=deinterlace) as (_, found):
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
    stamps = np.asarray(times)
    whole = joined(images, name=label(source))
    return Video(frames=whole, times=stamps, fps=measured_fps(stamps, header=header.fps))


def moments(*, fps: float, start: float, count: int) -> NDArray[np.float64]:
    """`count` times from `start` on, 1 / `fps` apart."""
    return start + np.arange(count) / fps


def nearest(times: NDArray[np.float64], *, fps: float, start: float, count: int) -> NDArray[np.int64]:
    """Which of the frames at `times` is nearest to each of `count` moments `start`, `start + 1 / fps`, ..."""
    wanted = moments(fps=fps, start=start, count=count)
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(wanted - times[before] <= times[after] - wanted + TIE, before, after).astype(np.int64)
