"""Guidance: scale 1 is none, scale 0 the empty prompt, in between a line; outside its interval nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.sampler.guidance import guide


def prompted(noisy: Tensor, sigma: Tensor) -> Tensor:
    return 3 * noisy + sigma


def empty(noisy: Tensor, sigma: Tensor) -> Tensor:
    return noisy - sigma


def never(noisy: Tensor, sigma: Tensor) -> Tensor:
    raise AssertionError("the empty prompt is evaluated for nothing")


def test_scale_one_is_no_guidance_and_costs_none() -> None:
    noisy, sigma = torch.randn(4), torch.tensor(0.5)
    assert torch.equal(guide(prompted, never, scale=1)(noisy, sigma), prompted(noisy, sigma))


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.5, 7.0])
def test_guidance_goes_along_the_difference(scale: float) -> None:
    noisy, sigma = torch.randn(4), torch.tensor(0.5)
    wanted = (1 - scale) * empty(noisy, sigma) + scale * prompted(noisy, sigma)
    assert_close(guide(prompted, empty, scale=scale)(noisy, sigma), wanted)


@pytest.mark.parametrize("sigma", [0.1, 0.95])
def test_outside_its_interval_it_does_nothing(sigma: float) -> None:
    noisy, level = torch.randn(4), torch.tensor(sigma)
    guided = guide(prompted, never, scale=5.0, interval=(0.2, 0.9))
    assert torch.equal(guided(noisy, level), prompted(noisy, level))
