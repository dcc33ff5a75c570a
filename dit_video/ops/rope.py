"""Rotary positions in time, row and column (Su et al. 2021, equation 34, split over three axes)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import layer_norm


def axis_pairs(pairs: int) -> tuple[int, int, int]:
    """How `pairs` rotated pairs of a head are shared by time, row and column: a quarter for time, the rest in half."""
    side = (pairs * 3 // 4) // 2
    return pairs - 2 * side, side, side


def angles(position: Tensor, *, pairs: int, base: float = 100.0) -> Tensor:
    """Rotation angles (n, pairs) of float positions (n, 3); `base` is the longest wavelength over 2 pi, in patches."""
    parts = []
    for axis, count in enumerate(axis_pairs(pairs)):
        steps = torch.arange(count, device=position.device, dtype=torch.float32) / max(count, 1)
        parts.append(position[:, axis, None].float() * base**-steps)
    return torch.cat(parts, dim=-1)


def rotary(position: Tensor, *, width: int, base: float = 100.0) -> Tensor:
    """Cosines and sines (n, 1, 1, width/2, 2) for heads of `width`; compute once a pack."""
    angle = angles(position, pairs=width // 2, base=base)[:, None, None]
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def rotate(x: Tensor, turn: Tensor, *, back: bool = False) -> Tensor:
    """Rotate the pairs (2i, 2i + 1) of x (n, two, h, e) by `turn` from `rotary`, or back by it, in float32 or wider."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if torch.compiler.is_compiling():  # which knows no complex numbers
        (a, b), (cos, sin) = wide.unflatten(-1, (-1, 2)).unbind(-1), turn.unbind(-1)
        sin = -sin if back else sin
        return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)
    pairs, by = torch.view_as_complex(wide.unflatten(-1, (-1, 2))), torch.view_as_complex(turn.to(wide.dtype))
    return torch.view_as_real(pairs * (by.conj() if back else by)).flatten(-2).to(x.dtype)


def normed_turn(x: Tensor, scale: Tensor, turn: Tensor, *, eps: float = 1e-6) -> Tensor:
    """rotate(norm(x) * scale, turn), of which x alone is kept for the backward.

    Args:
        x: (n, two, h, e), normalised over e, head by head.
        scale: (two, 1, e).
        turn: (n, 1, 1, e/2, 2), from `rotary`.
        eps: added to the variance.
    """
    if torch.compiler.is_compiling():  # which finds out itself what to keep
        return rotate(layer_norm(x, x.shape[-1:], eps=eps) * scale, turn).to(x.dtype)
    out: Tensor = _NormedTurn.apply(x, scale, turn, eps)
    return out


class _NormedTurn(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, turn: Tensor, eps: float) -> Tensor:
        normed, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, eps)
        ctx.save_for_backward(x, mean, rstd, scale, turn)
        ctx.eps = eps
        return rotate(normed * scale, turn).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, rstd, scale, turn = ctx.saved_tensors
        size = x.shape[-1:]
        normed = torch.native_layer_norm(x, size, None, None, ctx.eps)[0]
        back = rotate(grad.contiguous(), turn, back=True)
        to_scale = torch.einsum("nthe,nthe->te", back, normed)[:, None]
        to_normed = (back * scale).to(x.dtype)
        to_x = torch.ops.aten.native_layer_norm_backward(
            to_normed, x, size, mean, rstd, None, None, [True, False, False]
        )[0]
        return to_x, to_scale.to(scale.dtype), None, None
