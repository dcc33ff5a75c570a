"""The diffusion transformer (Peebles & Xie 2022): packed patch tokens, a level a frame, and text in; velocity out.

- Clips of any size and length share one sequence; attention stays within a clip (NaViT, Dehghani et al. 2023).
- Every latent frame has its own noise level, so given frames (level 0) are conditions and need no other mechanism.
- A sequence rank runs the same forward on a stretch of the tokens; attention, which is handed in, sees the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dit_video.models.dit.block import Block
from dit_video.models.dit.embed import LevelEmbed, PlaceEmbed
from dit_video.models.dit.flops import flops
from dit_video.models.dit.init import initialise
from dit_video.ops.attention import named
from dit_video.ops.rope import rotary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from dit_video.batch import Layout
    from dit_video.models.dit.flops import Count


class DiT(nn.Module):
    """Velocity of packed patch tokens.

    Args:
        channels: of the latents.
        patch: side of a patch, in latents; a token carries channels * patch * patch numbers.
        width: of the tokens, d.
        depth: number of blocks.
        heads: of attention; width / heads must be even.
        text_width: of the text context.
        attention: backend by name, one of those of ops/attention/choose.py; "auto" is the fastest that is there.
    """

    def __init__(
        self,
        *,
        channels: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        text_width: int,
        attention: str = "auto",
    ) -> None:
        super().__init__()
        self.patch, self.head_width = patch, width // heads
        inside = channels * patch * patch
        self.patch_in = nn.Linear(inside, width)
        self.place_in = PlaceEmbed(width)
        self.lead = nn.Parameter(torch.empty(width))
        self.level_in = LevelEmbed(width)
        self.text_in = nn.Linear(text_width, width, bias=False)
        self.pooled_in = nn.Sequential(nn.Linear(text_width, width), nn.SiLU(), nn.Linear(width, width))
        self.modulation = nn.Linear(width, 6 * width)
        self.layers = nn.ModuleList(Block(width, heads=heads, attend=named(attention)) for _ in range(depth))
        self.norm_out = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation_out = nn.Linear(width, 2 * width)
        self.patch_out = nn.Linear(width, inside)
        self.initialise()

    def initialise(self) -> None:
        """Initial values and tags of all parameters, in place."""
        initialise(self)

    def blocks(self) -> Iterator[nn.Module]:
        """The units of sharding, recompute and compilation."""
        yield from self.layers

    def flops(self, *, tokens: Count, frames: Count, words: int) -> Count:
        """FLOPs of one forward over each clip of `tokens` in `frames` latent frames, with `words` of text."""
        text_width, width = self.text_in.in_features, self.text_in.out_features
        inside, depth = self.patch_in.in_features, len(self.layers)
        shape = {"width": width, "depth": depth, "words": words, "text_width": text_width, "inside": inside}
        return flops(tokens=tokens, frames=frames, **shape)

    def forward(self, noisy: Tensor, sigma: Tensor, layout: Layout, context: Tensor) -> Tensor:
        """Velocity (n, inside) of the tokens.

        Args:
            noisy: (n, inside) patch tokens of all clips.
            sigma: (f,) noise level of each latent frame.
            layout: how the tokens make up clips.
            context: (s, l, text_width) text of each clip.
        """
        tokens = self.patch_in(noisy) + self.place_in(layout)
        tokens = tokens + self.lead * layout.lead[layout.frame, None]
        pooled = self.pooled_in(context.mean(dim=1))
        signal = nn.functional.silu(self.level_in(sigma) + pooled[layout.sample])
        shared, turn = self.modulation(signal), rotary(layout.position, width=self.head_width)
        context = self.text_in(context)
        for block in self.layers:
            tokens = block(tokens, context, shared, layout.frame, turn, layout.lengths)
        shift, scale = nn.functional.embedding(layout.frame, self.modulation_out(signal)).chunk(2, dim=-1)
        return self.patch_out(torch.addcmul(shift, self.norm_out(tokens), 1 + scale))
