from __future__ import annotations

import numpy as np
import pytest

from datamodules.prepare.curation.cuts import Change, Scorer, is_cut, pieces, shots


def changes(video: np.ndarray) -> list[Change]:
    scorer = Scorer()
    return [scorer.change(image) for image in video]


def thing(frames: int, *, ground: int, colour: tuple[int, int, int], speed: float, size: int = 64) -> np.ndarray:
    """A disc of a quarter of the side that bounces over a flat ground."""
    rows, columns = np.mgrid[0:size, 0:size]
    video = np.full((frames, size, size, 3), ground, np.uint8)
    for at in range(frames):
        left = abs((at * speed) % (2 * size) - size)
        video[at][(rows - size / 2) ** 2 + (columns - left) ** 2 < (size / 4) ** 2] = colour
    return video


@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize("speed", [0.0, 0.03, 0.1, 0.25])
@pytest.mark.parametrize("colour", [(255, 0, 0), (255, 255, 255), (0, 255, 255)])
def test_a_fast_thing_is_no_cut(size: int, speed: float, colour: tuple[int, int, int]) -> None:
    video = thing(24, ground=20, colour=colour, speed=speed * size, size=size)
    assert shots(changes(video), threshold=27.0) == [(0, 24)]


@pytest.mark.parametrize("at", [1, 2, 5, 12, 22, 23])
def test_a_cut_is_found_wherever_it_is(at: int) -> None:
    first = thing(at, ground=20, colour=(255, 0, 0), speed=3)
    second = thing(24 - at, ground=200, colour=(0, 0, 255), speed=3)
    assert shots(changes(np.concatenate([first, second])), threshold=27.0) == [(0, at), (at, 24)]


def test_shaking_is_no_cut_but_a_cut_within_it_is() -> None:
    rng = np.random.default_rng(0)
    shaky = [Change(score=float(15 + rng.uniform(0, 10)), share=0.6) for _ in range(20)]
    assert not any(is_cut(shaky, at, threshold=27.0) for at in range(1, 20))
    shaky[10] = Change(score=60.0, share=0.9)
    assert [at for at in range(1, 20) if is_cut(shaky, at, threshold=27.0)] == [10]


def test_pieces_follow_one_another() -> None:
    times = np.arange(100) / 12
    assert pieces((0, 100), times, fps=12, min_seconds=0.5, max_seconds=2.0) == [(0, 24), (24, 48), (48, 72), (72, 96)]
    assert pieces((10, 40), times, fps=12, min_seconds=0.5, max_seconds=2.0) == [(10, 34), (34, 40)]
    assert pieces((10, 39), times, fps=12, min_seconds=0.5, max_seconds=2.0) == [(10, 34)]
    assert pieces((10, 14), times, fps=12, min_seconds=0.5, max_seconds=2.0) == []
