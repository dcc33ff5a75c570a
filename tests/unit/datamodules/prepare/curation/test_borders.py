"""Borders: found to the row where they are, and nowhere where a dark or black picture only looks like one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.prepare.curation import borders
from datamodules.prepare.curation.borders import Borders, Crop
from datamodules.prepare.curation.clip import Rules, looked_at, samples
from dit_video.media.read import read
from dit_video.media.write import write

RULES = Rules(max_seconds=2.0, min_seconds=0.5, crf=14)
NONE = Crop()


def scene(frames: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """A coloured blotchy picture that drifts: uint8 (t, h, w, 3)."""
    rng = np.random.default_rng(seed)
    world = cv2.resize(rng.integers(30, 230, (12, 24, 3)).astype(np.uint8), (2 * width, height + 40))
    return np.stack([world[at : at + height, 2 * at : 2 * at + width] for at in range(frames)])


def found(tmp_path: Path, video: np.ndarray) -> Crop:
    """Borders of a video as the first pass sees it."""
    write(tmp_path / "a.mp4", video, fps=12)
    return borders.find(looked_at(tmp_path / "a.mp4", RULES)[1], rules=Borders())


@pytest.mark.parametrize("edges", [(18, 18, 0, 0), (0, 0, 24, 24), (0, 0, 88, 88), (16, 16, 40, 40)])
def test_borders_are_found_and_cropped(tmp_path: Path, edges: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = edges
    inner = scene(20, 144 - top - bottom, 256 - left - right)
    video = np.pad(inner, ((0, 0), (top, bottom), (left, right), (0, 0)))
    crop = found(tmp_path, video)
    assert np.abs(np.array([crop.top * 144, crop.bottom * 144, crop.left * 256, crop.right * 256]) - edges).max() <= 1
    (sample,) = samples(tmp_path / "a.mp4", RULES, {}).samples
    made = read(sample.media).frames
    assert made.shape[1:3] == (sample.row["height"], sample.row["width"])
    assert np.abs(np.array(made.shape[1:3]) - inner.shape[1:3]).max() <= 3
    assert made[..., 0, :, :].mean() > 60  # of the first row
    assert sample.scores["border_top"] == crop.top


def test_kept_where_one_asks_for_it(tmp_path: Path) -> None:
    video = np.pad(scene(20, 108, 256), ((0, 0), (18, 18), (0, 0), (0, 0)))
    write(tmp_path / "a.mp4", video, fps=12)
    rules = Rules(max_seconds=2.0, min_seconds=0.5, crf=14, borders=Borders(crop=False))
    (sample,) = samples(tmp_path / "a.mp4", rules, {}).samples
    assert sample.media == (tmp_path / "a.mp4").read_bytes()
    assert sample.scores["border_top"] == pytest.approx(18 / 144, abs=0.01)


def test_a_thing_on_a_black_ground_a_title_and_the_night_have_none(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:144, 0:256]
    ball = np.zeros((20, 144, 256, 3), np.uint8)
    for at in range(20):
        ball[at][(rows - 72) ** 2 + (columns - 60 - 7 * at) ** 2 < 900] = (200, 180, 40)
    assert found(tmp_path, ball) == NONE
    square = np.zeros((20, 144, 256, 3), np.uint8)
    for at in range(20):
        square[at, 40:104, 10 * at : 10 * at + 64] = (40, 80, 230)
    assert found(tmp_path, square) == NONE
    square[:, :] = 0
    square[:, 30:114, 60:196] = (40, 80, 230)
    assert found(tmp_path, square) == NONE
    triangle = np.zeros((20, 144, 256, 3), np.uint8)
    for image in triangle:
        cv2.fillPoly(image, [np.array([[0, 100], [128, 0], [255, 100]])], (200, 60, 200))
    assert found(tmp_path, triangle) == NONE
    title = np.zeros((20, 144, 256, 3), np.uint8)
    for image in title:
        cv2.putText(image, "THE END", (50, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (255, 255, 255), 3)
    assert found(tmp_path, title) == NONE
    night = (scene(20, 144, 256) * np.linspace(0, 1, 144)[:, None, None] ** 2).astype(np.uint8)
    assert found(tmp_path, night) == NONE
    assert found(tmp_path, np.zeros((20, 144, 256, 3), np.uint8)) == NONE


def test_without_borders_nothing_is_cropped(tmp_path: Path) -> None:
    assert found(tmp_path, scene(20, 144, 256)) == NONE
    assert NONE.place(7, 9) == (slice(0, 7), slice(0, 9))
    assert Crop(top=0.25).place(8, 9) == (slice(2, 8), slice(0, 9))
    assert Crop(top=1 / 7).place(7, 9) == (slice(1, 7), slice(0, 9))
