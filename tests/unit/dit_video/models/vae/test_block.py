"""Parts of the VAE: convolutions over the past alone, halves that undo each other's shapes, channels side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.models.vae.block import Down, ResBlock, SpaceConv, TimeConv, Up


def lively(block: ResBlock) -> ResBlock:
    """The block, with an output."""
    torch.nn.init.normal_(block.narrower.weight)
    return block


def test_space_is_by_frame() -> None:
    conv, x = SpaceConv(3, 5), torch.randn(2, 4, 6, 6, 3)
    whole = conv(x)
    assert whole.shape == (2, 4, 6, 6, 5)
    for frame in range(4):
        assert_close(conv(x[:, frame : frame + 1]), whole[:, frame : frame + 1])


def test_space_is_the_convolution_of_images() -> None:
    conv, x = SpaceConv(3, 5), torch.randn(1, 1, 6, 7, 3)
    made = torch.nn.functional.conv2d(x[:, 0].movedim(-1, 1), conv.conv.weight, conv.conv.bias, padding=1)
    assert_close(conv(x)[:, 0].movedim(-1, 1), made)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_memory_continues_time(cut: int) -> None:
    x = torch.randn(2, 6, 4, 4, 3)
    for module in (TimeConv(3), lively(ResBlock(3))):
        memory: dict[int, Tensor] = {}
        parts = [module(x[:, :cut], memory), module(x[:, cut:], memory)]
        assert_close(torch.cat(parts, dim=1), module(x))


def test_memory_keeps_two_frames_and_no_more() -> None:
    conv, memory = TimeConv(3), dict[int, Tensor]()
    conv(torch.randn(1, 50, 4, 4, 3), memory)
    (kept,) = memory.values()
    assert kept.untyped_storage().nbytes() == 2 * 4 * 4 * 3 * 4


def test_before_the_first_frame_stands_the_first_frame() -> None:
    conv, x = TimeConv(3), torch.randn(1, 1, 2, 2, 3)
    assert_close(conv(x.expand(-1, 4, -1, -1, -1)), conv(x).expand(-1, 4, -1, -1, -1))


def test_channels_stay_side_by_side() -> None:
    """Every module hands on what the next reads without a copy."""
    x = torch.randn(2, 5, 4, 4, 8)
    for module in (SpaceConv(8, 8), TimeConv(8), ResBlock(8), Down(8, 8, time=2, space=2), Up(8, 8, time=1, space=2)):
        assert module(x).is_contiguous()


def test_a_new_block_is_its_shortcut_and_a_lively_one_is_not() -> None:
    x = torch.randn(1, 3, 4, 4, 8)
    block = ResBlock(8)
    torch.nn.init.zeros_(block.narrower.weight)
    torch.nn.init.zeros_(block.narrower.bias)
    assert torch.equal(block(x), x)
    assert not torch.equal(lively(block)(x), x)


@pytest.mark.parametrize(("time", "space"), [(1, 1), (2, 2), (4, 1), (1, 4)])
def test_down_and_up_have_each_others_shapes(time: int, space: int) -> None:
    x = torch.randn(1, 1 + 2 * time, 2 * space, 3 * space, 3)
    down = Down(3, 8, time=time, space=space)
    small = down(x)
    assert small.shape == (1, 3, 2, 3, 8)
    assert_close(down(x[:, 1:], starts=False), small[:, 1:])
    up = Up(8, 3, time=time, space=space)
    assert up(small).shape == x.shape
    assert_close(up(small[:, 1:], starts=False), up(small)[:, 1:])
