"""Fades and dissolves are found to the frame; what moves, shakes, flashes or grows light is none."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from datamodules.prepare.curation.cuts import Cuts, Scorer, Split, split
from datamodules.prepare.curation.fades import SIDE

FPS = 25.0
RULES = Cuts()
SIZE = (72, 128)


def ground(seed: int, *, height: int = 300, width: int = 600) -> np.ndarray:
    """A coloured landscape of large and small blobs, float (height, width, 3)."""
    rng = np.random.default_rng(seed)
    whole = np.zeros((height, width, 3), np.float32)
    for cells, weight in [(4, 90), (9, 50), (40, 25)]:
        noise = rng.uniform(-1, 1, (cells, 2 * cells, 3)).astype(np.float32)
        whole += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(whole + rng.uniform(80, 170, 3), 0, 255)


def pan(seed: int, frames: int, *, speed: float = 1.0, zoom: float = 0.0, shake: float = 0.0) -> np.ndarray:
    """A camera over a landscape: float (frames, h, w, 3); `speed` in pixels a frame, `zoom` in shares a frame."""
    world, rng, views = ground(seed), np.random.default_rng(seed), []
    for at in range(frames):
        scale = (1 + zoom) ** at
        x, y = 60 + speed * at + shake * rng.normal(), 60 + shake * rng.normal()
        matrix = np.array([[1 / scale, 0, x], [0, 1 / scale, y]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        views.append(cv2.warpAffine(world, matrix, SIZE[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT))
    return np.stack(views)


def parted(video: np.ndarray, rules: Cuts = RULES) -> Split:
    """The shots of a video."""
    images = np.clip(np.round(video), 0, 255).astype(np.uint8)
    scorer = Scorer()
    changes = [scorer.change(image) for image in images]
    pictures = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])
    return split(changes, pictures, fps=FPS, rules=rules)


def blend(first: np.ndarray, second: np.ndarray, length: int) -> np.ndarray:
    """The first video melting into the second within `length` frames, in the middle of both."""
    share = (np.arange(length) + 1) / (length + 1)
    share = share[:, None, None, None]
    mixed = first[-length:] * (1 - share) + second[:length] * share
    return np.concatenate([first[:-length], mixed, second[length:]])


@pytest.mark.parametrize("length", [6, 12, 25, 45])
@pytest.mark.parametrize("speed", [0.0, 0.5])
def test_dissolves(length: int, speed: float) -> None:
    for seed in range(0, 6, 2):
        first, second = pan(seed, 40 + length, speed=speed), pan(seed + 1, 40 + length, speed=speed)
        found = parted(blend(first, second, length))
        ((start, end),) = found.dissolves
        assert abs(start - 40) <= 2
        assert abs(end - 40 - length) <= 2
        assert found.shots == [(0, start), (end, 80 + length)]
        assert found.fades == []


@pytest.mark.parametrize("length", [6, 12, 25])
@pytest.mark.parametrize("colour", [0, 255])
def test_fades(length: int, colour: int) -> None:
    for seed in range(0, 6, 2):
        flat = np.full((length + 3, *SIZE, 3), float(colour))
        out = blend(pan(seed, 40 + length), flat, length)
        found = parted(np.concatenate([out, blend(flat[:length], pan(seed + 1, 40 + length), length)]))
        ((start, end),) = found.fades
        assert abs(start - 40) <= 2
        assert abs(end - 43 - 2 * length) <= 2
        assert found.shots == [(0, start), (end, 83 + 2 * length)]


def test_without_fades_only_cuts_part() -> None:
    video = blend(pan(0, 65), pan(1, 65), 25)
    found = parted(np.concatenate([video, pan(2, 30)]), replace(RULES, fades=None))
    assert found.shots == [(0, 105), (105, 135)]


@pytest.mark.parametrize("speed", [0.3, 2.0, 6.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_pan_is_one_shot(speed: float, seed: int) -> None:
    assert parted(pan(seed, 75, speed=speed)).shots == [(0, 75)]


@pytest.mark.parametrize(("zoom", "shake"), [(0.02, 0.0), (-0.01, 0.0), (0.0, 3.0), (0.01, 1.5)])
@pytest.mark.parametrize("seed", range(3))
def test_a_zoom_and_a_shaking_hand_are_one_shot(zoom: float, shake: float, seed: int) -> None:
    assert parted(pan(seed, 75, zoom=zoom, shake=shake)).shots == [(0, 75)]


@pytest.mark.parametrize("strength", [0.4, 1.8])
def test_a_change_of_the_light_is_one_shot(strength: float) -> None:
    light = np.interp(np.arange(75), [25, 45], [1.0, strength])
    assert parted(pan(3, 75) * 0.55 * light[:, None, None, None]).shots == [(0, 75)]


@pytest.mark.parametrize("seed", range(3))
def test_a_large_fast_thing_is_one_shot(seed: int) -> None:
    video = pan(seed, 60)
    for at in range(60):
        left = 8 * (at - 20)
        video[at, 10:62, max(left, 0) : max(left + 60, 0)] = (240, 30, 60)
    assert parted(video).shots == [(0, 60)]


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("gain", [255.0, 120.0])
def test_a_flash_is_one_shot(length: int, gain: float) -> None:
    video = pan(5, 60)
    video[30 : 30 + length] += gain
    assert parted(video).shots == [(0, 60)]


def test_a_black_video_is_kept_and_black_between_shots_is_a_fade() -> None:
    assert parted(np.zeros((30, *SIZE, 3))).shots == [(0, 30)]
    black = np.zeros((10, *SIZE, 3))
    found = parted(np.concatenate([pan(0, 30), black, pan(1, 30)]))
    assert (found.shots, found.fades) == ([(0, 30), (40, 70)], [(30, 40)])
