"""The gated MLP's end against its formula written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear, silu

from dit_video.ops.swiglu import swiglu


def plain(up: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    gate, value = up.chunk(2, dim=-1)
    return linear(silu(gate) * value, weight)


def test_values_and_gradients_are_those_of_the_formula() -> None:
    source = torch.Generator().manual_seed(0)
    up, weight, seen = (
        torch.randn(shape, dtype=torch.float64, generator=source).requires_grad_() for shape in ((5, 8), (3, 4), (5, 3))
    )
    torch.testing.assert_close(swiglu(up, weight), plain(up, weight), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(swiglu, (up, weight))
    mine = torch.autograd.grad((swiglu(up, weight) * seen).sum(), (up, weight))
    theirs = torch.autograd.grad((plain(up, weight) * seen).sum(), (up, weight))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_under_autocast_gradients_have_the_types_of_what_they_are_of(kind: torch.dtype) -> None:
    up, weight = torch.randn(5, 8, dtype=kind).requires_grad_(), torch.randn(3, 4).requires_grad_()
    with torch.autocast("cpu", dtype=kind):
        out = swiglu(up, weight)
    out.float().sum().backward()
    assert out.dtype == kind
    assert up.grad is not None
    assert weight.grad is not None
    assert (up.grad.dtype, weight.grad.dtype) == (kind, torch.float32)
