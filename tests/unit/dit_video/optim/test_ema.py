from __future__ import annotations

import pytest
import torch
from torch import nn

from dit_video.optim.ema import Ema, decay


def test_half_is_kept_after_a_half_life() -> None:
    assert decay(samples=100, samples_seen=10**6, half_life=100, ramp=0.05) == pytest.approx(0.5)
    assert decay(samples=5, samples_seen=100, half_life=10**6, ramp=0.05) == pytest.approx(0.5)


def test_many_small_steps_equal_one_large() -> None:
    one, many = (Ema({"w": nn.Parameter(torch.zeros(3))}, half_life=64) for _ in range(2))
    for item in (one, many):
        with torch.no_grad():
            item.parameters["w"].fill_(1.0)
    one.update(samples=64, samples_seen=10**6)
    for _ in range(16):
        many.update(samples=4, samples_seen=10**6)
    torch.testing.assert_close(one.averages["w"], many.averages["w"])
    torch.testing.assert_close(one.averages["w"], torch.full((3,), 0.5))


def test_starts_as_a_copy_that_shares_nothing() -> None:
    parameter = nn.Parameter(torch.ones(2))
    item = Ema({"w": parameter}, half_life=10)
    with torch.no_grad():
        parameter.zero_()
    assert torch.equal(item.averages["w"], torch.ones(2))


def test_swapped_gives_the_same_bits_back() -> None:
    parameter = nn.Parameter(torch.randn(5))
    item, raw = Ema({"w": parameter}, half_life=10), parameter.detach().clone()
    item.averages["w"].zero_()

    def sample() -> None:
        with item.swapped():
            assert torch.equal(parameter, torch.zeros(5))
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        sample()
    assert torch.equal(parameter, raw)


def test_averages_of_bfloat16_are_float32() -> None:
    item = Ema({"w": nn.Parameter(torch.ones(2, dtype=torch.bfloat16))}, half_life=10)
    assert item.averages["w"].dtype is torch.float32
    item.update(samples=1, samples_seen=1)
