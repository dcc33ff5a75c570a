"""Media of a page: whole pixels for tiny ones, no larger than their room, and none for what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dit_video.media.write import write
from dit_video.page.media import Medium

ALONE = (128, 288)


def test_tiny_videos_grow_by_whole_pixels_and_large_ones_shrink() -> None:
    assert Medium("", 32, 48, True).shown(ALONE) == (192, 128, True)
    assert Medium("", 72, 128, True).shown(ALONE) == (256, 144, True)
    width, height, enlarged = Medium("", 720, 1280, True).shown(ALONE)
    assert (width, height, enlarged) == (ALONE[1], 162, False)


def test_what_cannot_be_read_is_none_and_what_can_is_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (tmp_path / "a.txt").write_text("text")
    write(tmp_path / "b.mp4", np.zeros((2, 16, 32, 3), np.uint8), fps=4)
    assert Medium.load(None) is None
    assert Medium.load(tmp_path / "a.mp4") is None
    assert Medium.load(tmp_path / "a.txt") is None
    made = Medium.load(tmp_path / "b.mp4")
    assert made is not None
    assert (made.height, made.width, made.moving) == (16, 32, True)
    assert made.tag('"<label>', ALONE).startswith('<video src="data:video/mp4;base64,')
    assert "<label>" not in made.tag('"<label>', ALONE)
