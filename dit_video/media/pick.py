"""The wanted frames of a short clip in memory, at the least cost: same pixels as `read.pick`, in less time.

- FFmpeg decodes some frames to guess what the header of a clip of a shard says; here it does not (12 ms at 720p).
- The times of all frames are known from the packets. Decoding begins at the last key frame before the first wanted one,
  leaves out what no other frame refers to and nobody wants, and ends with the last wanted packet.
- Whatever is unusual (no time stamps, frames that do not come) is left to `read.pick`, which also says what is wrong.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dit_video.media import read
from dit_video.media.probe import CONTAINERS, PROTOCOLS, Limits, shown_size

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

OPTIONS = {"format_whitelist": CONTAINERS, "protocol_whitelist": PROTOCOLS, "skip_frame": "all"}  # of the header alone


def pick(data: bytes, *, fps: float, start: float, count: int, fit: read.Fit) -> NDArray[np.uint8]:
    """The frames nearest to `count` moments `start`, `start + 1 / fps`, ... in seconds, uint8 (count, h, w, 3).

    As `read.pick` of the bytes of an MP4; DataError where they cannot be read.
    """
    import av

    try:
        found = quick(data, fps=fps, start=start, count=count, fit=fit)
    except (av.FFmpegError, OSError, ValueError, IndexError, EOFError):
        found = None
    return read.pick(data, fps=fps, start=start, count=count, fit=fit) if found is None else found


def quick(data: bytes, *, fps: float, start: float, count: int, fit: read.Fit) -> NDArray[np.uint8] | None:
    """`pick` for what is as it should be; None for the rest."""
    import av
    from av.video.reformatter import VideoReformatter

    av.logging.set_level(None)
    with av.open(io.BytesIO(data), format="mp4", options=OPTIONS, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None or context.width * context.height > Limits.pixels:
            return None
        context.thread_count = 1
        packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        wanted = stamps(packets, time_base=float(stream.time_base or 0), fps=fps, start=start, count=count)
        if wanted is None:
            return None
        images: dict[int, NDArray[np.uint8]] = {}
        size, rotation, reformatter = (0, 0), 0, VideoReformatter()
        for frame in decoded(stream, packets, wanted):
            if not images:
                rotation = int(frame.rotation) % 360
                size = fit(shown_size(stream, rotation))
            if frame.is_corrupt or (context.sample_aspect_ratio or 1) != (stream.sample_aspect_ratio or 1):
                return None
            images[frame.pts] = read.to_rgb(frame, reformatter, size=size, rotation=rotation)
    if images.keys() != set(wanted):
        return None
    shown = np.empty((count, *size, 3), np.uint8)
    for place, at in enumerate(wanted):
        shown[place] = images[at]
    return shown


def stamps(packets: Sequence[Packet], *, time_base: float, fps: float, start: float, count: int) -> list[int] | None:
    """The time stamp of the frame nearest to each moment; None where stamps are missing or double."""
    rising = sorted(packet.pts for packet in packets if packet.pts is not None)
    if not rising or len(rising) < len(packets) or time_base <= 0 or len(set(rising)) < len(rising):
        return None
    times = [(stamp - rising[0]) * time_base for stamp in rising]
    return [rising[nearest(times, start + at / fps)] for at in range(count)]


def nearest(times: Sequence[float], moment: float) -> int:
    """Which of the rising times is nearest to a moment, as `read.nearest`: numpy costs more than a small clip."""
    after = min(max(bisect_left(times, moment), 1), len(times) - 1)
    before = max(after - 1, 0)
    return before if moment - times[before] <= times[after] - moment + read.TIE else after


def decoded(stream: VideoStream, packets: Sequence[Packet], wanted: Sequence[int]) -> Iterator[VideoFrame]:
    """The frames of rising time stamps; of the others those are decoded that these need."""
    needed, context = set(wanted), stream.codec_context
    keys = [at for at, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= wanted[0]]
    left, skipping = len(needed), False
    for packet in packets[keys[-1] if keys else 0 :]:
        want = packet.pts in needed
        if want == skipping:
            skipping = not want
            context.skip_frame = "NONREF" if skipping else "DEFAULT"
        yield from (frame for frame in context.decode(packet) if frame.pts in needed)
        left -= want
        if not left:
            break
    yield from (frame for frame in context.decode(None) if frame.pts in needed)
