from __future__ import annotations

import numpy as np
import pytest

from datamodules.order.conditions import NONE, PATTERNS, conditions, frame_counts, settle
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
    level = np.linspace(0, 0.9999, 50)
    many, tails = np.full(50, frames), np.tile(np.arange(1, frames), (50, 1))
    for pattern in range(len(PATTERNS)):
        asked = np.full(50, pattern)
        settled, cut = settle(asked, level, frames=many, tails=tails, tail_counts=np.full(50, frames - 1))
        whole, given = frame_counts(settled, cut, many)
        assert ((given >= 0) & (given < whole)).all()
        assert ((given > 0) == (settled != NONE)).all()
        assert (settled == (NONE if frames == 1 else pattern)).all()


def test_a_clip_without_tails_has_no_suffix() -> None:
    three = {"frames": np.array([5, 5, 1]), "tails": np.array([[0, 0], [2, 4], [0, 0]])}
    settled, cut = settle(np.full(3, 3), np.array([0.5, 0.6, 0.5]), tail_counts=np.array([0, 2, 0]), **three)
    assert settled.tolist() == [0, 3, 0]
    assert cut.tolist() == [0, 4, 0]


@pytest.mark.parametrize("weights", [{}, {"none": 0.0}, {"nome": 1.0}, {"none": -1.0, "first": 2.0}])
def test_senseless_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.conditions"):
        conditions(weights, seed=0)
