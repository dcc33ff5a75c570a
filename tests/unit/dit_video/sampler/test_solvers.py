"""Orders of the solvers, measured; Euler on a straight path is exact."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.sampler.loop import integrate, schedule
from dit_video.sampler.solvers import STEPS, Step, euler, heun


def growth(noisy: Tensor, sigma: Tensor) -> Tensor:
    """dx/dsigma = x sin(3 sigma) has the solution x exp((1 - cos 3 sigma) / 3)."""
    return noisy * torch.sin(3 * sigma)


def error(step: Step, steps: int) -> float:
    levels = schedule(steps).double()
    start = torch.ones(1, dtype=torch.float64) * math.exp((1 - math.cos(3.0)) / 3)
    return abs(integrate(growth, start, levels, step=step).item() - 1.0)


@pytest.mark.parametrize("step", STEPS.values())
def test_one_step_is_exact_on_a_constant_velocity(step: Step) -> None:
    data, noise = torch.randn(2, 7, dtype=torch.float64).unbind(0)
    made = step(lambda noisy, sigma: noise - data, noise, torch.tensor(1.0), torch.tensor(0.0))
    assert_close(made, data)


@pytest.mark.parametrize(("step", "order"), [(euler, 1), (heun, 2)])
def test_halving_the_step_divides_the_error_by_two_to_the_order(step: Step, order: int) -> None:
    ratio = error(step, 64) / error(step, 128)
    assert 0.9 * 2**order < ratio < 1.1 * 2**order
