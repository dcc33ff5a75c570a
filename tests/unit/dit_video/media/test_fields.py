"""Interlaced video: the combs go, the times stay; what is not marked is not touched."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from dit_video.media.read import frames
from dit_video.media.write import write


def bar(moment: int) -> np.ndarray:
    """A bar that moves two pixels a field."""
    image = np.full((96, 128, 3), 30, np.uint8)
    image[:, 8 + 2 * moment : 28 + 2 * moment] = 220
    return image


def interlaced(path: Path, count: int = 12) -> None:
    """An H.264 file whose frames are woven of two moments each, the upper lines first."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "x264-params": "tff=1"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for at in range(count):
            image, second = bar(2 * at), bar(2 * at + 1)
            image[1::2] = second[1::2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def combs(image: np.ndarray) -> float:
    """How much a line differs from those above and below it."""
    lines = image.astype(np.float64)
    return float(np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2).mean())


def test_combs_go_and_times_stay(tmp_path: Path) -> None:
    interlaced(tmp_path / "a.mp4")
    before, after = (list(frames(tmp_path / "a.mp4", deinterlace=woven)) for woven in (False, True))
    assert all(frame.decoded.interlaced_frame for frame in before)
    assert [frame.time for frame in before] == [frame.time for frame in after]
    assert min(combs(frame.image) for frame in before) > 10 * max(combs(frame.image) for frame in after)


def test_whole_frames_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", np.stack([bar(at) for at in range(8)]), fps=12)
    before, after = (list(frames(tmp_path / "a.mp4", deinterlace=woven)) for woven in (False, True))
    assert all(np.array_equal(one.image, other.image) for one, other in zip(before, after, strict=True))
