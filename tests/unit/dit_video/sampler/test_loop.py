"""The loop goes from the first level to the last, once through each pair, and says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.sampler.loop import integrate, schedule


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_levels_fall_from_one_to_zero(shift: float) -> None:
    levels = schedule(10, shift=shift)
    assert levels.shape == (11,)
    assert (levels.diff() < 0).all()
    assert_close(levels[[0, -1]], torch.tensor([1.0, 0.0]))
    assert (levels >= schedule(10) - 1e-6).all()
    assert_close(schedule(10, start=0.5)[0], torch.tensor(0.5))


def test_any_levels_lead_along_a_straight_path_to_its_end() -> None:
    data, noise = torch.randn(2, 7, dtype=torch.float64).unbind(0)
    visited: list[float] = []
    counted: list[int] = []

    def velocity(noisy: Tensor, sigma: Tensor) -> Tensor:
        visited.append(float(sigma))
        assert_close(noisy, (1 - sigma) * data + sigma * noise)
        return noise - data

    levels = schedule(5, shift=2.0).double()
    assert_close(integrate(velocity, noise, levels, seen=counted.append), data)
    assert_close(torch.tensor(visited), levels[:-1].float())
    assert counted == [0, 1, 2, 3, 4]
