"""The functions against their formulas written out, values and gradients, in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import layer_norm

from dit_video.ops.modulate import gated, modulated

FRAME = torch.tensor([0, 0, 2, 1, 1, 2, 0])  # frame 3 has no token


def leaves(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, generator=source).requires_grad_() for shape in shapes]


def plainly_modulated(tokens: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return shift[FRAME] + scale[FRAME] * layer_norm(tokens, tokens.shape[-1:], eps=1e-6)


def plainly_gated(tokens: torch.Tensor, branch: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    return tokens + gate[FRAME] * branch


@pytest.mark.parametrize("name", ["modulated", "gated"])
def test_values_and_gradients_are_those_of_the_formula(name: str) -> None:
    if name == "modulated":
        given = leaves((7, 6), (4, 6), (4, 6))
        first, second = modulated(*given, FRAME), plainly_modulated(*given)
    else:
        given = leaves((7, 6), (7, 6), (4, 6))
        first, second = gated(*given, FRAME), plainly_gated(*given)
    weight = torch.randn(7, 6, dtype=torch.float64)
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
    mine = torch.autograd.grad((first * weight).sum(), given)
    theirs = torch.autograd.grad((second * weight).sum(), given)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_tables_that_are_columns_of_a_larger_one_do() -> None:
    (tokens,), (table,) = leaves((7, 6)), leaves((4, 18))
    shift, scale, gate = table.chunk(3, dim=-1)
    out = gated(tokens, modulated(tokens, shift, scale, FRAME), gate, FRAME)
    expected = plainly_gated(tokens, plainly_modulated(tokens, shift, scale), gate)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    (mine,), (theirs,) = torch.autograd.grad(out.sum(), [table]), torch.autograd.grad(expected.sum(), [table])
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_what_is_kept_is_what_came_in() -> None:
    tokens, branch, shift, scale = torch.randn(512, 32), torch.randn(512, 32), torch.randn(2, 32), torch.randn(2, 32)
    frame = torch.arange(512) // 256
    own = {tensor.untyped_storage().data_ptr() for tensor in (tokens, branch, shift, scale, frame)}
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept.append(tensor.untyped_storage().nbytes())
        return tensor

    for tensor in (tokens, branch, shift, scale):
        tensor.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        modulated(tokens, shift, scale, frame)
        gated(tokens, branch, scale, frame)
    assert sum(kept) <= 2 * 4 * 512  # mean and deviation of each token
