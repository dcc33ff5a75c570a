"""What a signal a frame does to the tokens of that frame, with little kept for the backward.

Written out, a block keeps six rows of its table for every token, the normalised tokens and the scaled ones.
Here each function keeps what came in, and the backward computes the rest again: a pass over memory, no product of
matrices. Tables stay as small as they are: a row a frame. The compiler, which does the same by itself, is given the
formulas.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import layer_norm


def modulated(tokens: Tensor, shift: Tensor, scale: Tensor, frame: Tensor, *, eps: float = 1e-6) -> Tensor:
    """shift + scale * norm(tokens), each token by the row of its frame (Peebles & Xie 2022, section 3.2).

    Args:
        tokens: (n, d); they are normalised over d to mean 0 and variance 1.
        shift: (f, d), a row a frame.
        scale: (f, d), around 1.
        frame: (n,) int64, the row that a token takes.
        eps: added to the variance.
    """
    if torch.compiler.is_compiling():
        return torch.addcmul(shift[frame], layer_norm(tokens, tokens.shape[-1:], eps=eps), scale[frame])
    out: Tensor = _Modulated.apply(tokens, shift, scale, frame, eps)
    return out


def gated(tokens: Tensor, branch: Tensor, gate: Tensor, frame: Tensor) -> Tensor:
    """tokens + gate * branch, each token by the row of its frame; tokens and branch (n, d), gate (f, d), frame (n,)."""
    if torch.compiler.is_compiling():
        return torch.addcmul(tokens, gate[frame], branch)
    out: Tensor = _Gated.apply(tokens, branch, gate, frame)
    return out


class _Modulated(Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, shift: Tensor, scale: Tensor, frame: Tensor, eps: float) -> Tensor:
        normed, mean, rstd = torch.native_layer_norm(tokens, tokens.shape[-1:], None, None, eps)
        ctx.save_for_backward(tokens, mean, rstd, scale, frame)
        ctx.eps = eps
        return torch.addcmul(shift.index_select(0, frame), normed, scale.index_select(0, frame))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tokens, mean, rstd, scale, frame = ctx.saved_tensors
        grad, size = grad.contiguous(), tokens.shape[-1:]
        normed = torch.native_layer_norm(tokens, size, None, None, ctx.eps)[0]
        to_normed = (grad * scale.index_select(0, frame)).to(tokens.dtype)
        to_tokens = torch.ops.aten.native_layer_norm_backward(
            to_normed, tokens, size, mean, rstd, None, None, [True, False, False]
        )[0]
        to_shift, to_scale = by_frame(grad, frame, len(scale)), by_frame(grad * normed, frame, len(scale))
        return to_tokens, to_shift.to(scale.dtype), to_scale.to(scale.dtype), None, None


class _Gated(Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, branch: Tensor, gate: Tensor, frame: Tensor) -> Tensor:
        ctx.save_for_backward(branch, gate, frame)
        ctx.kind = tokens.dtype
        return torch.addcmul(tokens, gate.index_select(0, frame), branch)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        branch, gate, frame = ctx.saved_tensors
        to_branch = (grad * gate.index_select(0, frame)).to(branch.dtype)
        return grad.to(ctx.kind), to_branch, by_frame(grad * branch, frame, len(gate)).to(gate.dtype), None


def by_frame(values: Tensor, frame: Tensor, frames: int) -> Tensor:
    """Values (n, d) added up by frame, (f, d)."""
    return torch.ops.aten.embedding_dense_backward(values.contiguous(), frame, frames, -1, False)  # type: ignore[no-any-return]
