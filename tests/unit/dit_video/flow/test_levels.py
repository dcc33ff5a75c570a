"""Levels: given frames are clean, draws are keyed, clips agree with themselves, the shift is monotone."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.flow.levels import Levels, shifted
from dit_video.seeds import generator

SAMPLE = torch.arange(200).repeat_interleave(5)


def draw(levels: Levels, *, seed: int = 0, given: torch.Tensor | None = None) -> torch.Tensor:
    given = torch.zeros(len(SAMPLE), dtype=torch.bool) if given is None else given
    return levels.draw(SAMPLE, given, generator=generator(seed, "test"))


def test_given_frames_are_clean_and_change_no_other() -> None:
    given = torch.arange(len(SAMPLE)) % 3 == 0
    free, sigma = draw(Levels()), draw(Levels(), given=given)
    assert not sigma[given].any()
    assert torch.equal(sigma[~given], free[~given])
    assert ((sigma[~given] > 0) & (sigma[~given] < 1)).all()


def test_the_same_seed_draws_the_same() -> None:
    assert torch.equal(draw(Levels(), seed=1), draw(Levels(), seed=1))
    assert not torch.equal(draw(Levels(), seed=1), draw(Levels(), seed=2))


@pytest.mark.parametrize("independent", [0.0, 0.3, 1.0])
def test_a_share_of_clips_has_a_level_for_each_frame(independent: float) -> None:
    rows = draw(Levels(independent=independent)).unflatten(0, (200, 5))
    apart = (rows != rows[:, :1]).any(dim=1).float().mean().item()
    assert abs(apart - independent) <= (0.1 if 0 < independent < 1 else 0.0)


def test_the_median_is_the_shifted_middle() -> None:
    levels = Levels(mean=0.7, shift=3.0, independent=1.0)
    middle = shifted(torch.tensor(0.7).sigmoid(), 3.0)
    assert abs(draw(levels).median() - middle) < 0.05


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0, 12.0])
def test_the_shift_keeps_the_ends_and_the_order(shift: float) -> None:
    sigma = torch.linspace(0, 1, 101, dtype=torch.float64)
    moved = shifted(sigma, shift)
    assert (moved.diff() > 0).all()
    assert_close(moved[[0, -1]], sigma[[0, -1]])
    assert_close(shifted(moved, 1 / shift), sigma)
    assert ((moved - sigma)[1:-1] * (shift - 1) >= 0).all()
