"""The small text encoder of the quickstart, trained along with the DiT."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from dit_video.models.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

BYTES = 64  # of vocabulary JSON a token, at most


class TextLayer(nn.Module):
    """A pre-norm transformer layer over one caption; padding is seen as words of its own."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attn, self.norm_mlp = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, context: Tensor) -> Tensor:
        """context (s, l, d) -> (s, l, d)."""
        qkv = self.qkv(self.norm_attn(context))
        q, k, v = rearrange(qkv, "s l (three h e) -> three s h l e", three=3, h=self.heads)
        context = context + self.out(rearrange(scaled_dot_product_attention(q, k, v), "s h l e -> s l (h e)"))
        return context + self.mlp(self.norm_mlp(context))


class TextEncoder(nn.Module):
    """Captions to context (s, l, width). It carries its tokenizer, so a checkpoint of it needs nothing else.

    Args:
        vocabulary: most tokens the tokenizer may have.
        length: l, to which captions are padded or cut.
        width: of the context.
        depth: number of layers.
        heads: of attention.
    """

    def __init__(self, *, vocabulary: int, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.length, self.size = length, vocabulary
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.empty(length, width))
        self.layers = nn.ModuleList(TextLayer(width, heads=heads) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.register_buffer("vocabulary", torch.zeros(BYTES * vocabulary, dtype=torch.uint8))
        self.initialise()

    def initialise(self) -> None:
        """Initial values and tags of all parameters, in place; no tokenizer yet."""
        for module in self.layers.modules():
            if isinstance(module, nn.Linear | nn.RMSNorm):
                module.reset_parameters()
        self.norm.reset_parameters()
        nn.init.normal_(self.words.weight, std=1.0)
        nn.init.normal_(self.places, std=0.3)
        nn.init.zeros_(self.vocabulary)
        for parameter in self.parameters():
            parameter.no_decay, parameter.matrix = True, False
        for layer in self.layers:
            for parameter in layer.parameters():
                parameter.no_decay, parameter.matrix = parameter.ndim < 2, parameter.ndim == 2

    def set_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Carry `tokenizer` from now on; DataError if it does not fit."""
        self.vocabulary.copy_(tokenizer.to_tensor(length=len(self.vocabulary)))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer this encoder was trained with; DataError if it has none yet."""
        return Tokenizer.from_tensor(self.vocabulary)

    def forward(self, captions: Sequence[str]) -> Tensor:
        """Context (s, l, width) of s captions; "" is the empty prompt of guidance."""
        return self.encode(self.tokenizer.encode(captions, length=self.length).to(self.places.device))

    def encode(self, words: Tensor) -> Tensor:
        """Context (s, l, width) of token numbers (s, l)."""
        context = self.words(words) + self.places
        for layer in self.layers:
            context = layer(context)
        return self.norm(context)
