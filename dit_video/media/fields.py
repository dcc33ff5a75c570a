"""Interlaced frames woven anew, so that moving edges have no combs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av import VideoFrame
    from av.filter import Graph
    from av.video.stream import VideoStream

OPTIONS = "mode=send_frame:parity=auto:deint=interlaced"


def graph(stream: VideoStream) -> Graph:
    """FFmpeg's bwdif for the frames of a stream: a frame for each, at the same times."""
    from av.filter import Graph

    made = Graph()
    source, filtered, sink = made.add_buffer(template=stream), made.add("bwdif", OPTIONS), made.add("buffersink")
    source.link_to(filtered)
    filtered.link_to(sink)
    made.configure()
    return made


def woven(frames: Iterable[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """`frames` of `stream`, those marked as interlaced deinterlaced; the others as they are."""
    made = graph(stream)
    for frame in frames:
        made.push(frame)
        yield from ready(made)
    made.push(None)
    yield from ready(made)


def ready(made: Graph) -> Iterator[VideoFrame]:
    """What a graph has finished so far."""
    import av

    while True:
        try:
            frame = made.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield frame  # type: ignore[misc]
