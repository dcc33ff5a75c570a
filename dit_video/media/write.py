"""H.264 MP4 out, frame by frame: yuv420p, tagged and converted as BT.709, the index first so that browsers start."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dit_video.errors import DataError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

BT709 = 1  # the code of its matrix, primaries and transfer alike
LIMITED = 1  # AVCOL_RANGE_MPEG


def even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` (h, w, 3) with its last row or column repeated where the size is odd: 4:2:0 needs even sizes."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") if height % 2 or width % 2 else image


def add_stream(
    container: object, *, fps: float, size: tuple[int, int], crf: float, gop: int, preset: str, threads: int
) -> VideoStream:
    """A libx264 stream tagged BT.709, limited range."""
    options = {"crf": str(crf), "preset": preset, "g": str(gop), "threads": str(threads)}
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000), options=options)  # type: ignore[attr-defined]
    stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
    context = stream.codec_context
    context.colorspace, context.color_primaries, context.color_trc, context.color_range = BT709, BT709, BT709, LIMITED
    return stream


def to_yuv(image: NDArray[np.uint8], reformatter: VideoReformatter) -> VideoFrame:
    """RGB (h, w, 3) as a limited-range BT.709 yuv420p frame."""
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    return reformatter.reformat(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(even(image)), format="rgb24"),
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
        threads=1,
    )


def write(
    path: Path | str,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float,
    crf: float = 16,
    gop: int = 48,
    preset: str = "medium",
    threads: int = 1,
) -> int:
    """Encode RGB uint8 (h, w, 3) frames as they come and return their number; equal input gives equal bytes.

    Odd sizes are padded to even. DataError where there are no frames, or their size changes.
    """
    import av
    from av.video.reformatter import VideoReformatter

    av.logging.set_level(None)
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise DataError(f"no frames to write to {path}")
    reformatter, count = VideoReformatter(), 0
    size = even(first).shape[:2]
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = add_stream(container, fps=fps, size=size, crf=crf, gop=gop, preset=preset, threads=threads)
        for image in chain([first], source):
            if image.shape != first.shape:
                raise DataError(f"frame {count} of {path} is {image.shape}, the first was {first.shape}")
            container.mux(stream.encode(to_yuv(image, reformatter)))
            count += 1
        container.mux(stream.encode())
    return count
