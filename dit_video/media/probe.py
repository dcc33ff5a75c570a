"""What a video file says about itself, read without decoding it (but for one frame, which knows the rotation).

- Only demuxers of plain containers are allowed, and only the `file` protocol: a playlist opens no other files or URLs.
- Sizes are as shown: after rotation, and with square pixels.
- `Limits` hold at the probe and again while decoding, since headers lie.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from dit_video.errors import DataError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,ivf,h264,hevc,m4v,obu,gif,dv,mxf,rm,yuv4mpegpipe"
)
PROTOCOLS = "file"
UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
HIGH_RANGE = {16, 18}  # AVCOL_TRC_SMPTE2084 (PQ) and AVCOL_TRC_ARIB_STD_B67 (HLG)
WIDE = {9, 11, 12}  # AVCOL_PRI of BT.2020 and P3


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a file may cost: `pixels` of a frame, `frames`, `seconds`, and `volume`, pixels of all frames together."""

    pixels: int = 8192 * 4608
    frames: int = 120_000
    seconds: float = 3600.0
    volume: int = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A video stream as its header describes it.

    `frames` is 0 and `seconds` 0.0 where the container does not say; `rotation` is in degrees counterclockwise and is
    already applied to `height` and `width`; `streams` counts all streams of the file; `hdr` is PQ or HLG, `wide` has
    primaries beyond those of BT.709.
    """

    container: str
    codec: str
    pixel_format: str
    full_range: bool
    hdr: bool
    wide: bool
    frames: int
    fps: float
    height: int
    width: int
    seconds: float
    rotation: int
    streams: int


def label(source: Path | str | bytes) -> str:
    """The name of a source in messages."""
    return "these bytes" if isinstance(source, bytes) else str(source)


@contextmanager
def open_video(source: Path | str | bytes) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream; DataError for anything that FFmpeg does not accept."""
    import av

    av.logging.set_level(None)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise DataError(f"no such video file: {source}")
    target = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": PROTOCOLS}
    try:
        with av.open(target, options=options, metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"{label(source)} has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DataError(f"{label(source)} has a video stream that nothing here decodes")
            stream.codec_context.thread_count = 1
            yield container, stream
    except DataError:
        raise
    except (av.FFmpegError, OSError, ValueError, IndexError, EOFError, MemoryError) as error:
        raise DataError(
            f"{label(source)} is not a readable video: {getattr(error, 'strerror', None) or error}"
        ) from error


def shown_size(stream: VideoStream, rotation: int) -> tuple[int, int]:
    """Height and width with square pixels, turned by `rotation` degrees."""
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    height, width = stream.height, stream.width
    if aspect != 1 and Fraction(1, 8) < aspect < 8:
        width = max(1, round(width * aspect))
    return (width, height) if rotation % 180 else (height, width)


def rate(stream: VideoStream) -> float:
    """Frames per second by the header; 0.0 where it is missing or absurd."""
    for value in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if value and 0.1 <= value <= 1000:
            return float(value)
    return 0.0


def check(probe: Probe, *, source: Path | str | bytes, limits: Limits) -> None:
    """DataError where the header alone exceeds a limit."""
    name = label(source)
    if probe.height < 1 or probe.width < 1:
        raise DataError(f"{name} has no frame size")
    if probe.height * probe.width > limits.pixels:
        raise DataError(
            f"{name} exceeds a limit: frames of {probe.width}x{probe.height}, at most {limits.pixels} pixels"
        )
    if probe.frames > limits.frames:
        raise DataError(f"{name} exceeds a limit: {probe.frames} frames, at most {limits.frames}")
    if probe.seconds > limits.seconds:
        raise DataError(f"{name} exceeds a limit: {probe.seconds:.0f} seconds, at most {limits.seconds:.0f}")


def describe(container: InputContainer, stream: VideoStream, rotation: int) -> Probe:
    """The header's values as a record."""
    seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if not seconds and container.duration:
        seconds = container.duration / 1_000_000
    height, width = shown_size(stream, rotation)
    pixel_format = stream.codec_context.pix_fmt or ""
    return Probe(
        container=container.format.name,
        codec=stream.codec_context.name,
        pixel_format=pixel_format,
        full_range=stream.codec_context.color_range == 2 or pixel_format.startswith("yuvj"),
        hdr=stream.codec_context.color_trc in HIGH_RANGE,
        wide=stream.codec_context.color_primaries in WIDE,
        frames=int(stream.frames or 0),
        fps=rate(stream),
        height=height,
        width=width,
        seconds=seconds,
        rotation=rotation,
        streams=len(container.streams),
    )


def probe(source: Path | str | bytes, *, limits: Limits = Limits()) -> Probe:
    """Probe a path or the bytes of a file; one frame is decoded for the rotation. DataError where it cannot be read."""
    with open_video(source) as (container, stream):
        header = describe(container, stream, 0)
        check(header, source=source, limits=limits)
        first = next(container.decode(stream), None)
        if first is None:
            raise DataError(f"{label(source)} has no frame that can be decoded")
        return describe(container, stream, int(first.rotation) % 360)
