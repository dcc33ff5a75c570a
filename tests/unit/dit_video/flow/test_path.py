"""Identities of the straight path."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.flow.path import expand, interpolate, velocity, velocity_to_data, velocity_to_noise


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_velocity_round_trip(sigma: float) -> None:
    data, noise = torch.randn(2, 3, 4, 5, dtype=torch.float64).unbind(0)
    level = torch.full((3,), sigma, dtype=torch.float64)
    noisy = interpolate(data, noise, level)
    assert_close(velocity_to_data(velocity(data, noise), noisy, level), data)
    assert_close(velocity_to_noise(velocity(data, noise), noisy, level), noise)


def test_the_velocity_is_the_derivative_of_the_path() -> None:
    data, noise = torch.randn(2, 3, 4, dtype=torch.float64).unbind(0)
    level = torch.rand(3, dtype=torch.float64, requires_grad=True)
    interpolate(data, noise, level).sum().backward()
    assert_close(level.grad, velocity(data, noise).sum(dim=1))


def test_each_entry_has_its_own_level() -> None:
    data, noise = torch.zeros(3, 2), torch.ones(3, 2)
    level = torch.tensor([0.0, 0.25, 1.0])
    assert_close(interpolate(data, noise, level), level[:, None].expand(3, 2))
    assert expand(level, torch.zeros(3, 2, 2)).shape == (3, 1, 1)
