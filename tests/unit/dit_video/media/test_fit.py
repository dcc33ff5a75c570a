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


def test_rates() -> None:
    frames = np.arange(24, dtype=np.uint8)[:, None, None, None]
    assert at_rate(frames, native=24, fps=24)[:, 0, 0, 0].tolist() == list(range(24))
    assert at_rate(frames, native=24, fps=12)[:, 0, 0, 0].tolist() == list(range(0, 24, 2))
    assert len(at_rate(frames[:1], native=24, fps=12)) == 1
