"""Written videos come back: colours, counts, sizes, rates, tags."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.media.read import read
from dit_video.media.write import write

COLOURS = [
    (200, 30, 60),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (17, 130, 200),
    (255, 230, 0),
]


@pytest.mark.parametrize("colour", COLOURS)
def test_flat_colour_round_trip(colour: tuple[int, int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write(path, (np.full((32, 48, 3), colour, np.uint8) for _ in range(5)), fps=12)
    video = read(path)
    assert video.frames.shape == (5, 32, 48, 3)
    assert video.fps == 12
    assert np.abs(video.frames.astype(int) - np.array(colour)).max() <= 3


def test_bytes_read_like_the_file_and_no_date_is_written(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8)
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, frames, fps=24)
    # Equal bytes in a fresh process, 300 of 300; in one that has done much else x264 may code noise another way.
    first, second = (read(tmp_path / name).frames.astype(int) for name in ("a.mp4", "b.mp4"))
    assert abs(first - second).mean() < 2
    assert np.array_equal(read(tmp_path / "a.mp4").frames, read((tmp_path / "a.mp4").read_bytes()).frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert "creation_time" not in container.metadata


def test_tags_odd_sizes_and_streaming(tmp_path: Path) -> None:
    written = write(tmp_path / "a.mp4", (np.zeros((31, 33, 3), np.uint8) for _ in range(3)), fps=24000 / 1001)
    assert written == 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert (context.height, context.width, context.pix_fmt) == (32, 34, "yuv420p")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")


def test_nothing_and_changing_sizes_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frames"):
        write(tmp_path / "a.mp4", [], fps=24)
    with pytest.raises(DataError, match="frame 1"):
        write(tmp_path / "b.mp4", [np.zeros((32, 32, 3), np.uint8), np.zeros((16, 32, 3), np.uint8)], fps=24)
