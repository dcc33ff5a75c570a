"""Clips of files: which, how much of them, at which rate and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.evaluation.clips import Cut, in_folder
from dit_video.media.image import write_image
from dit_video.media.read import read
from dit_video.media.write import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    frames = np.repeat(np.arange(0, 240, 10, dtype=np.uint8), 16 * 24 * 3).reshape(24, 16, 24, 3)
    write(tmp_path / "inside" / "a.mp4", frames, fps=8, crf=4)
    write_image(tmp_path / "b.png", np.full((20, 30, 3), 77, np.uint8))
    (tmp_path / "notes.txt").write_text("no video")
    return tmp_path


def test_videos_and_pictures_of_a_folder_and_nothing_else(folder: Path) -> None:
    video, picture = sorted(in_folder(folder, most=9), key=lambda clip: clip.image)
    assert (video.name, picture.name) == ("inside/a.mp4", "b.png")
    assert (video.fps, video.seconds) == (8.0, 3.0)
    assert next(picture.frames(Cut(frames=3))).shape == (20, 30, 3)
    assert len(list(picture.frames(Cut(frames=3)))) == 1
    assert len(in_folder(folder, most=1)) == 1
    assert [clip.name for clip in in_folder(folder / "b.png", most=1)] == ["b.png"]


def test_frames_are_those_of_the_video_as_far_as_asked(folder: Path) -> None:
    clip = in_folder(folder / "inside", most=1)[0]
    whole = read(folder / "inside" / "a.mp4").frames
    assert np.array_equal(np.stack(list(clip.frames(Cut(frames=7)))), whole[:7])
    assert np.array_equal(np.stack(list(clip.frames(Cut(frames=99, start=0.5)))), whole[12:])
    assert next(clip.frames(Cut(frames=1, size=(8, 8)))).shape == (8, 8, 3)


@pytest.mark.parametrize(("fps", "picks"), [(4.0, range(0, 24, 2)), (8.0, range(24)), (2.0, range(0, 24, 4))])
def test_a_rate_takes_the_nearest_frames(folder: Path, fps: float, picks: range) -> None:
    clip = in_folder(folder / "inside", most=1)[0]
    whole = read(folder / "inside" / "a.mp4").frames
    found = list(clip.frames(Cut(frames=99, fps=fps)))
    assert np.array_equal(np.stack(found), whole[list(picks)])
    assert Cut(frames=99, fps=fps).count(clip.seconds, clip.fps) == len(picks)


def test_a_higher_rate_shows_frames_again(folder: Path) -> None:
    clip = in_folder(folder / "inside", most=1)[0]
    found = list(clip.frames(Cut(frames=5, fps=16.0)))
    assert np.array_equal(found[0], found[1]) or np.array_equal(found[1], found[2])
    assert len(found) == 5


def test_a_folder_without_any_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="has no video and no picture"):
        in_folder(tmp_path, most=4)
