"""Fitting frames: sizes, centres, rates."""

from __future__ import annotations

import numpy as np
import pytest

from dit_video.media.fit import at_rate, cover


@pytest.mark.parametrize("size", [(32, 48), (64, 96), (31, 97), (200, 40), (20, 20)])
def test_cover_gives_the_size_and_keeps_the_centre(size: tuple[int, int]) -> None:
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    disc = (rows - (size[0] - 1) / 2) ** 2 + (columns - (size[1] - 1) / 2) ** 2 < (min(size) / 4) ** 2
    image = np.repeat((disc * 255).astype(np.uint8)[..., None], 3, axis=-1)
    scaled = cover(image, 32, 48)
    assert scaled.shape == (32, 48, 3)
    where = np.argwhere(scaled[..., 0] > 127)
    assert np.allclose(where.mean(0), [15.5, 23.5], atol=0.6)


def test_frames_are_counted_from_the_first_or_back_from_the_last() -> None:
    times = np.arange(24) / 24
    for to_last in (False, True):
        assert at_rate(times, fps=24, to_last=to_last).tolist() == list(range(24))
        assert at_rate(times[:1], fps=12, to_last=to_last).tolist() == [0]
    assert at_rate(times, fps=8).tolist() == list(range(0, 24, 3))
    assert at_rate(times, fps=8, to_last=True).tolist() == list(range(2, 24, 3))
    assert at_rate(times[:3] * 6, fps=8).tolist() == [0, 0, 1, 1, 2]
    assert at_rate(times[:3] * 6, fps=8, to_last=True).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("fps", [5.0, 8.0, 12.0, 23.976, 60.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_end_that_is_counted_from_is_kept_and_the_other_is_near(fps: float, seed: int) -> None:
    gaps = np.random.default_rng(seed).uniform(0.02, 0.08, 40)
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    first, last = at_rate(times, fps=fps), at_rate(times, fps=fps, to_last=True)
    assert (first[0], last[-1]) == (0, len(times) - 1)
    for picks in (first, last):
        assert (np.diff(picks) >= 0).all()
        assert abs(times[picks[-1]] - times[picks[0]] - times[-1]) < 1 / fps + 0.08


def test_rounded_stamps_lose_no_frame() -> None:
    for count in range(1, 60):
        times = np.round(np.arange(count) / 24, 3)
        for to_last in (False, True):
            assert at_rate(times, fps=24, to_last=to_last).tolist() == list(range(count))
