"""One transformer block: attention within the clip, attention to its text, and a gated MLP, steered by the signal.

- The modulation (shift, scale, gate) of all frames is computed once for all blocks, each block adds a table of its own
  (PixArt-alpha, section 2.3), and tokens gather their frame's row.
- Queries and keys are normalised per head before the rotation (Dehghani et al. 2023, section 2.1).
- What a step costs beside its matrix products is passes over the tokens and what they keep for the backward: the
  functions of `ops` keep little more than what came in (831 MiB where the same written out keeps 1,382). The 1 of
  (1 + scale) lives in the table.
- The way to the text is not modulated by the noise level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn

from dit_video.ops.attention import attention
from dit_video.ops.modulate import gated, modulated
from dit_video.ops.rope import normed_turn
from dit_video.ops.swiglu import swiglu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dit_video.ops.attention import Attention


class SelfAttention(nn.Module):
    """Attention among the tokens of each clip."""

    def __init__(self, width: int, *, heads: int, attend: Attention = attention) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.scale = nn.Parameter(torch.ones(2, 1, width // heads))
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, turn: Tensor, lengths: Sequence[int]) -> Tensor:
        """tokens (n, d) cut by `lengths`; `turn` is their rotation."""
        qk, v = rearrange(self.qkv(tokens), "n (three h e) -> n three h e", three=3, h=self.heads).split([2, 1], dim=1)
        q, k = normed_turn(qk, self.scale, turn).unbind(dim=1)
        return self.out(rearrange(self.attend(q, k, v[:, 0], lengths, lengths), "n h e -> n (h e)"))


class CrossAttention(nn.Module):
    """Attention from the tokens of each clip to its text."""

    def __init__(self, width: int, *, heads: int, attend: Attention = attention) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.q_norm = nn.LayerNorm(width // heads, bias=False, eps=1e-6)
        self.k_norm = nn.LayerNorm(width // heads, bias=False, eps=1e-6)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, context: Tensor, lengths: Sequence[int]) -> Tensor:
        """tokens (n, d) cut by `lengths`; context (s, l, d), one row a clip."""
        q = rearrange(self.q(tokens), "n (h e) -> n h e", h=self.heads)
        k, v = rearrange(self.kv(context), "s l (two h e) -> two (s l) h e", two=2, h=self.heads)
        texts = [context.shape[1]] * context.shape[0]
        seen = self.attend(self.q_norm(q), self.k_norm(k), v, lengths, texts)
        return self.out(rearrange(seen, "n h e -> n (h e)"))


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer 2020, equation 6), two thirds of four widths inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 32 * round(width * 8 / 3 / 32)
        self.up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (n, d) -> (n, d)."""
        return swiglu(self.up(tokens), self.down.weight)


class Block(nn.Module):
    """tokens (n, d) -> tokens (n, d)."""

    def __init__(self, width: int, *, heads: int, attend: Attention = attention) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads=heads, attend=attend)
        self.norm_text = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.text = CrossAttention(width, heads=heads, attend=attend)
        self.mlp = GatedMLP(width)
        self.table = nn.Parameter(torch.empty(6 * width))  # shift, scale, gate, twice
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The block's own share of the modulation leaves the tokens as they are."""
        self.table.copy_(
            torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 0.0], device="cpu").repeat_interleave(len(self.table) // 6)
        )

    def forward(
        self,
        tokens: Tensor,
        context: Tensor,
        signal: Tensor,
        frame: Tensor,
        turn: Tensor,
        lengths: Sequence[int],
    ) -> Tensor:
        """signal (f, 6d) is the shared modulation of each frame; `frame` (n,) says whose row a token takes."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = (signal + self.table).chunk(6, dim=-1)
        tokens = gated(tokens, self.attn(modulated(tokens, shift, scale, frame), turn, lengths), gate, frame)
        tokens = tokens + self.text(self.norm_text(tokens), context, lengths)
        return gated(tokens, self.mlp(modulated(tokens, shift_mlp, scale_mlp, frame)), gate_mlp, frame)
