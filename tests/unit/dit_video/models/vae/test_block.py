"""Parts of the VAE: norms by position, convolutions over the past alone, halves that undo each other's shapes."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.models.vae.block import ChannelNorm, Down, ResBlock, SpaceConv, TimeConv, Up


def test_the_norm_is_by_position() -> None:
    x = torch.randn(1, 8, 3, 4, 4)
    y = ChannelNorm(8)(x)
    assert_close(y.square().mean(dim=1), torch.ones(1, 3, 4, 4), atol=1e-3, rtol=0)
    assert_close(ChannelNorm(8)(x[:, :, 1:2, :2]), y[:, :, 1:2, :2])


def test_space_is_by_frame() -> None:
    conv, x = SpaceConv(3, 5), torch.randn(2, 3, 4, 6, 6)
    whole = conv(x)
    for frame in range(4):
        assert_close(conv(x[:, :, frame : frame + 1]), whole[:, :, frame : frame + 1])


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_memory_continues_time(cut: int) -> None:
    conv, x = TimeConv(3, 5), torch.randn(2, 3, 6, 4, 4)
    memory: dict[int, torch.Tensor] = {}
    parts = [conv(x[:, :, :cut], memory), conv(x[:, :, cut:], memory)]
    assert_close(torch.cat(parts, dim=2), conv(x))
    block, memory = ResBlock(3), {}
    parts = [block(x[:, :, :cut], memory), block(x[:, :, cut:], memory)]
    assert_close(torch.cat(parts, dim=2), block(x))


def test_before_the_first_frame_stands_the_first_frame() -> None:
    conv, x = TimeConv(3, 5), torch.randn(1, 3, 1, 2, 2)
    assert_close(conv(x.expand(-1, -1, 4, -1, -1)), conv(x).expand(-1, -1, 4, -1, -1))


@pytest.mark.parametrize(("time", "space"), [(1, 1), (2, 2), (4, 1), (1, 4)])
def test_down_and_up_have_each_others_shapes(time: int, space: int) -> None:
    x = torch.randn(1, 3, 1 + 2 * time, 2 * space, 3 * space)
    small = Down(3, 8, time=time, space=space)(x)
    assert small.shape == (1, 8, 3, 2, 3)
    up = Up(8, 3, time=time, space=space)
    assert up(small, starts=True).shape == x.shape
    assert_close(up(small[:, :, 1:], starts=False), up(small, starts=True)[:, :, 1:])
