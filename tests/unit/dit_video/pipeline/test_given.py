"""Given pictures and clips come at the size that is chosen for theirs, clips up to the end that counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.media.image import write_image
from dit_video.media.write import write
from dit_video.pipeline.given import Size, clip, still

LEVELS = np.arange(0, 240, 10, dtype=np.uint8)  # at 24 frames a second


@pytest.fixture
def video(tmp_path: Path) -> str:
    frames = np.broadcast_to(LEVELS[:, None, None, None], (24, 20, 40, 3))
    write(tmp_path / "a.mp4", frames, fps=24, crf=1)
    return str(tmp_path / "a.mp4")


def half(size: Size) -> Size:
    """Half of the only size there is here."""
    assert size == (20, 40)
    return 10, 20


def test_the_size_is_chosen_for_the_native_one(video: str, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((20, 40, 3), 50, np.uint8))
    assert still(str(tmp_path / "a.png"), choose=half).shape == (1, 10, 20, 3)
    assert clip(video, choose=half, fps=24, to_last=False).shape == (24, 10, 20, 3)


def test_a_clip_keeps_the_end_it_is_counted_from(video: str) -> None:
    for to_last, wanted in ((False, LEVELS[::3]), (True, LEVELS[2::3])):
        frames = clip(video, choose=half, fps=8, to_last=to_last)
        assert np.allclose(frames.mean((1, 2, 3)), wanted, atol=2)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no media", encoding="utf-8")
    with pytest.raises(DataError, match="not a readable image"):
        still(str(tmp_path / "a"), choose=half)
    with pytest.raises(DataError, match="not a readable video"):
        clip(str(tmp_path / "a"), choose=half, fps=8, to_last=True)
