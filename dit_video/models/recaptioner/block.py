"""Attention, encoder block, resampler, decoder block. Pre-norm throughout, queries and keys normalised.

The decoder's memory is a value: a block is handed what it kept of the past and returns what to keep.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Kept(NamedTuple):
    """Keys and values (b, h, n, e) of one attention."""

    keys: Tensor
    values: Tensor


class Memory(NamedTuple):
    """What a decoder block keeps between steps: of the text so far, and of the context."""

    text: Kept
    context: Kept


class Attention(nn.Module):
    """Multi-head attention of tokens (b, n, width) over a source (b, m, width), split so that keys can be kept."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(width, 2 * width, bias=False)
        self.pair.weight.parts = 2  # type: ignore[assignment]  # two matrices in one, to an optimizer of matrices
        self.out = nn.Linear(width, width, bias=False)
        self.query_norm, self.key_norm = (nn.LayerNorm(width // heads, bias=False) for _ in range(2))

    def keep(self, source: Tensor) -> Kept:
        """Keys and values of a source."""
        keys, values = rearrange(self.pair(source), "b m (p h e) -> p b h m e", p=2, h=self.heads)
        return Kept(self.key_norm(keys), values)

    def forward(self, tokens: Tensor, kept: Kept, *, causal: bool = False) -> Tensor:
        """Attend; with `causal` the last token sees all keys, each one before it one fewer."""
        queries = self.query_norm(rearrange(self.query(tokens), "b n (h e) -> b h n e", h=self.heads))
        mask = None
        if causal and queries.shape[2] > 1:
            shape = queries.shape[2], kept.keys.shape[2]
            mask = torch.ones(shape, dtype=torch.bool, device=tokens.device).tril(shape[1] - shape[0])
        seen = F.scaled_dot_product_attention(queries, kept.keys, kept.values, attn_mask=mask)
        return self.out(rearrange(seen, "b h n e -> b n (h e)"))


class Mlp(nn.Module):
    """Two linear maps with a GELU between, four times wider inside."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """What to add to tokens (b, n, width)."""
        return self.down(F.gelu(self.up(tokens)))


class EncoderBlock(nn.Module):
    """Every token of the video attends to every other."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.mlp = Attention(width=width, heads=heads), Mlp(width=width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b, n, width) of a video, each with what it has seen of the others."""
        signal = self.norms[0](tokens)
        tokens = tokens + self.attention(signal, self.attention.keep(signal))
        return tokens + self.mlp(self.norms[1](tokens))


class Resampler(nn.Module):
    """Any number of tokens to `slots` of them: learned queries look at the video (Perceiver, arXiv:2103.03206).

    The mean and the greatest of the whole clip are added to every slot: early on all queries look everywhere alike,
    and that sum is what the decoder learns to speak from.
    """

    def __init__(self, *, width: int, heads: int, slots: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.empty(slots, width))
        self.slots.matrix = False  # type: ignore[attr-defined]  # rows are separate vectors, to an optimizer of matrices
        self.whole = nn.Linear(width, 2 * width)
        self.pool = nn.Linear(4 * width, width, bias=False)
        self.attention, self.mlp = Attention(width=width, heads=heads), Mlp(width=width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (b, n, width) to slots (b, slots, width)."""
        signal = self.norms[1](tokens)
        whole = F.gelu(self.whole(signal))
        slots = self.slots + self.pool(torch.cat([whole.mean(1), whole.amax(1)], dim=-1))[:, None]
        slots = slots + self.attention(self.norms[0](slots), self.attention.keep(signal))
        return slots + self.mlp(self.norms[2](slots))


class DecoderBlock(nn.Module):
    """Text attends to the text before it, then to the context."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.cross = (Attention(width=width, heads=heads) for _ in range(2))
        self.mlp = Mlp(width=width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(4))

    def forward(self, tokens: Tensor, context: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Tokens (b, l, width), new ones only if there is a memory; returns them and the memory with them in it."""
        signal = self.norms[0](tokens)
        text = self.attention.keep(signal)
        if memory is not None:
            text = Kept(*(torch.cat(pair, dim=2) for pair in zip(memory.text, text, strict=True)))
        seen = self.cross.keep(self.norms[2](context)) if memory is None else memory.context
        tokens = tokens + self.attention(signal, text, causal=True)
        tokens = tokens + self.cross(self.norms[1](tokens), seen)
        return tokens + self.mlp(self.norms[3](tokens)), Memory(text, seen)
