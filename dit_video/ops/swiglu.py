"""The gated MLP's middle and end, which keep the way up alone for the backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import linear, silu


def swiglu(up: Tensor, weight: Tensor) -> Tensor:
    """(silu(gate) * value) @ weight.T of (gate, value) = up (Shazeer 2020, equation 6).

    up (n, 2 i), weight (d, i) -> (n, d). What lies between is computed again in the backward.
    """
    if torch.compiler.is_compiling():  # which finds out itself what to keep
        gate, value = up.chunk(2, dim=-1)
        return linear(silu(gate) * value, weight)
    out: Tensor = _SwiGLU.apply(up, weight)
    return out


class _SwiGLU(Function):
    @staticmethod
    def forward(ctx: Any, up: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(up, weight)
        gate, value = up.chunk(2, dim=-1)
        return linear(silu(gate).mul_(value), weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        up, weight = ctx.saved_tensors
        gate, value = up.chunk(2, dim=-1)
        opened = silu(gate)
        to_weight = grad.mT.to(up.dtype) @ (opened * value)
        back = grad.to(up.dtype) @ weight.to(up.dtype)
        to_up = torch.empty_like(up)
        to_gate, to_value = to_up.chunk(2, dim=-1)
        torch.mul(back, opened, out=to_value)
        to_gate.copy_(torch.ops.aten.silu_backward(back.mul_(value), gate))
        return to_up, to_weight.to(weight.dtype)
