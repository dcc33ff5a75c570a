"""Rotary positions: products depend on differences alone, lengths never change."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import layer_norm
from torch.testing import assert_close

from dit_video.ops.rope import angles, axis_pairs, normed_turn, rotary, rotate


def products(qk: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    q, k = rotate(qk, rotary(position, width=qk.shape[-1])).unbind(1)
    return torch.einsum("nhe,mhe->hnm", q, k)


def test_products_depend_on_differences_alone() -> None:
    qk = torch.randn(6, 2, 3, 32)
    position = torch.randint(0, 9, (6, 3)).float()
    moved = products(qk, position + torch.tensor([3.0, 7.0, 2.0]))
    assert_close(moved, products(qk, position), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_is_seen(axis: int) -> None:
    qk = torch.randn(6, 2, 3, 32)
    position = torch.zeros(6, 3)
    position[:, axis] = torch.arange(6.0)
    assert (products(qk, position) - products(qk, torch.zeros(6, 3))).abs().max() > 0.1


def test_rotation_keeps_lengths_and_the_origin() -> None:
    x = torch.randn(5, 2, 1, 16)
    turned = rotate(x, rotary(torch.rand(5, 3) * 9, width=16))
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert_close(rotate(x, rotary(torch.zeros(5, 3), width=16)), x)


@pytest.mark.parametrize("pairs", [1, 4, 8, 16, 32, 36])
def test_axes_share_all_pairs(pairs: int) -> None:
    counts = axis_pairs(pairs)
    assert sum(counts) == pairs
    assert counts[1] == counts[2]
    assert angles(torch.ones(2, 3), pairs=pairs).shape == (2, pairs)


def test_the_normed_turn_is_a_norm_a_scale_and_a_turn() -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, 3, 8, dtype=torch.float64, generator=source).requires_grad_()
    scale = torch.rand(2, 1, 8, dtype=torch.float64, generator=source).requires_grad_()
    seen = torch.randn(6, 2, 3, 8, dtype=torch.float64, generator=source)
    turn = rotary(torch.rand(6, 3, generator=source) * 9, width=8)
    mine = normed_turn(x, scale, turn)
    theirs = rotate(layer_norm(x, (8,), eps=1e-6) * scale, turn)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    for a, b in zip(
        torch.autograd.grad((mine * seen).sum(), (x, scale)),
        torch.autograd.grad((theirs * seen).sum(), (x, scale)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
