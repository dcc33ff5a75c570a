from __future__ import annotations

import numpy as np
import pytest

from datamodules.conditions import PATTERNS, conditions, frame_counts, settle
from dit_video.errors import ConfigError


def test_draws_follow_the_weights_and_their_key() -> None:
    made = conditions({"none": 2, "first": 1, "suffix": 1}, seed=0)
    pattern, level = made.draw(3, np.arange(8000))
    shares = np.bincount(pattern, minlength=4) / 8000
    assert np.allclose(shares, [0.5, 0.25, 0, 0.25], atol=0.02)
    again, _ = made.draw(3, np.arange(4000, 8000))
    assert (again == pattern[4000:]).all()
    assert abs(np.corrcoef(pattern, level)[0, 1]) < 0.04


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_something_is_always_left_to_learn(frames: int) -> None:
    tails = tuple(range(1, frames))
    for pattern in range(4):
        for level in np.linspace(0, 0.9999, 50):
            name, cut = settle(pattern, level, frames=frames, tails=tails, image=False)
            whole, given = frame_counts(name, cut, frames)
            assert 0 <= given < whole
            assert (given > 0) == (name != "none")
            assert name == ("none" if frames == 1 else PATTERNS[pattern])
    assert settle(3, 0.5, frames=5, tails=(), image=False) == ("none", 0)
    assert settle(1, 0.5, frames=1, tails=(), image=True) == ("none", 0)


@pytest.mark.parametrize("weights", [{}, {"none": 0.0}, {"nome": 1.0}, {"none": -1.0, "first": 2.0}])
def test_senseless_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.conditions"):
        conditions(weights, seed=0)
