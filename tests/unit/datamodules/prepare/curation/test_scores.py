"""Scores: each goes up with what it is named for, and with nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.prepare.curation.clip import Rules, samples
from datamodules.prepare.curation.hashes import perceptual
from datamodules.prepare.curation.look import MOST_LOOKS, Pass
from datamodules.prepare.curation.scores import SCORES, TIME, image_scores
from datamodules.prepare.curation.text import Text
from dit_video.media.write import write

RULES = Rules(max_seconds=4.0, min_seconds=0.5, crf=14)
FPS = 24


def world(seed: int = 0, *, height: int = 200, width: int = 500) -> np.ndarray:
    """A still landscape, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    fine = cv2.resize(
        rng.integers(0, 255, (25, 60, 3)).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return (fine * 0.6 + 40).astype(np.uint8)


def pan(pixels: float, frames: int = 48, *, hold: int = 1) -> np.ndarray:
    """A camera that moves by `pixels` a frame, and stands still `hold` frames at each place: (t, 144, 256, 3)."""
    places = [round(pixels * hold * (at // hold)) for at in range(frames)]
    return np.stack([world()[20:164, place : place + 256] for place in places])


def scored(tmp_path: Path, video: np.ndarray, *, fps: float = FPS) -> dict[str, Any]:
    """Scores of a video as one clip."""
    write(tmp_path / "a.mp4", video, fps=fps)
    (sample,) = samples(tmp_path / "a.mp4", RULES, {}).samples
    assert set(sample.scores) == {*SCORES, "hashes"}
    return sample.scores


@pytest.mark.parametrize("pixels", [1.0, 2.0, 4.0])
def test_motion_is_the_speed_of_a_pan(tmp_path: Path, pixels: float) -> None:
    found = scored(tmp_path, pan(pixels))
    assert found["motion"] == pytest.approx(pixels * FPS / 144, rel=0.3)
    assert found["still"] == 0


def test_motion_is_per_second_and_not_per_frame(tmp_path: Path) -> None:
    fast, slow = scored(tmp_path, pan(2.0), fps=24), scored(tmp_path, pan(2.0), fps=12)
    assert fast["motion"] == pytest.approx(2 * slow["motion"], rel=0.1)


def test_frames_that_repeat_are_still(tmp_path: Path) -> None:
    assert scored(tmp_path, pan(0.0))["still"] == 1
    assert scored(tmp_path, pan(0.0))["motion"] == 0
    held = scored(tmp_path, pan(1.0, hold=2))
    assert held["still"] == pytest.approx(0.5, abs=0.05)
    assert held["motion"] == pytest.approx(scored(tmp_path, pan(1.0))["motion"], rel=0.3)


def test_a_slide_show_changes_in_few_jumps(tmp_path: Path) -> None:
    even, jumps = scored(tmp_path, pan(1.0)), scored(tmp_path, pan(0.1, hold=24))
    assert even["slides"] < 0.2
    assert jumps["slides"] > 0.9


def test_pictures_are_judged_for_what_they_are(tmp_path: Path) -> None:
    plain = pan(1.0)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 5) for image in plain])
    assert scored(tmp_path, blurred)["sharpness"] < 0.4 * scored(tmp_path, plain)["sharpness"]
    dark, half = (plain * 0.3).astype(np.uint8), (plain * 0.5 + 60).astype(np.uint8)
    assert scored(tmp_path, dark)["brightness"] < 0.5 * scored(tmp_path, plain)["brightness"]
    assert scored(tmp_path, half)["contrast"] == pytest.approx(0.5 * scored(tmp_path, plain)["contrast"], rel=0.1)


def test_borders_do_not_change_the_scores(tmp_path: Path) -> None:
    plain = scored(tmp_path, pan(2.0))
    boxed = scored(tmp_path, np.pad(pan(2.0), ((0, 0), (24, 24), (0, 0), (0, 0))))
    assert boxed["border_top"] == pytest.approx(24 / 192, abs=0.01)
    for name in ("motion", "sharpness", "brightness", "contrast"):
        assert boxed[name] == pytest.approx(plain[name], rel=0.15), name
    bits = [int(one ^ other).bit_count() for one, other in zip(plain["hashes"], boxed["hashes"], strict=True)]
    assert np.mean(bits) <= 10  # of noise, whose frequencies all lie near the median


def test_text_is_flagged(tmp_path: Path) -> None:
    video = np.stack([cv2.resize(image, (640, 360)) for image in pan(1.0)])
    assert scored(tmp_path, video)["text"] < 0.005
    for image in video:
        for line in range(3):
            cv2.putText(image, "A LINE OF SOME TEXT", (40, 100 + 80 * line), 0, 1.3, (255, 255, 255), 3, cv2.LINE_AA)
    assert scored(tmp_path, video)["text"] > 0.05


def test_images_have_no_scores_of_time() -> None:
    found = image_scores(world(), text=Text())
    assert all(math.isnan(found[name]) for name in TIME)
    assert found["brightness"] == pytest.approx(cv2.cvtColor(world(), cv2.COLOR_RGB2GRAY).mean() / 255, abs=0.01)
    assert len(found["hashes"]) == 1


def test_hashes_are_near_for_near_pictures_only() -> None:
    grey = [cv2.cvtColor(world(seed), cv2.COLOR_RGB2GRAY) for seed in range(6)]
    changed = cv2.resize((grey[0] * 0.8 + 20).astype(np.uint8), (250, 100))
    assert (perceptual(grey[0]) ^ perceptual(changed)).bit_count() <= 4
    others = [(perceptual(grey[0]) ^ perceptual(other)).bit_count() for other in grey[1:]]
    assert min(others) >= 12


def test_a_long_video_is_looked_at_no_more_often_than_a_short_one() -> None:
    noted = Pass(seconds=4000.0, text=Text(), threshold=27.0)
    assert noted.every == pytest.approx(4000 / MOST_LOOKS)
    image = world()[:72, :128]
    due = [noted.see(image, time=at / 10, interlaced=False) for at in range(100)]
    assert sum(due) == 10
