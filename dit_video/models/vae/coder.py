"""Encoder and decoder: the linear way, and beside it stages of blocks, each coarser or finer than the one before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from operator import mul
from typing import TYPE_CHECKING

from einops import rearrange
from torch import nn
from torch.nn import functional

from dit_video.models.vae.block import Down, ResBlock, SpaceConv, Up
from dit_video.models.vae.embed import PIXEL, ToLatent, ToPixels
from dit_video.shapes import Compression

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.models.vae.block import Memory


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One level, counted from the pixels: width, number of blocks, frames and pixels that its entry makes one of."""

    width: int
    blocks: int
    time: int
    space: int


def reach(stages: list[Stage]) -> int:
    """Latent positions to each side that a latent or a pixel depends on: every block sees one position further."""
    scales = list(accumulate((stage.space for stage in stages), mul))
    seen = sum(stage.blocks * scale for stage, scale in zip(stages, scales, strict=True)) + scales[-1]
    return ceil(seen / scales[-1])


def layers(stages: list[Stage]) -> nn.ModuleList:
    """The blocks of each stage."""
    return nn.ModuleList(nn.ModuleList(ResBlock(stage.width) for _ in range(stage.blocks)) for stage in stages)


class Encoder(nn.Module):
    """Pixels to the mean of the latent."""

    def __init__(self, compression: Compression, stages: list[Stage], *, band: tuple[int, int] | None) -> None:
        super().__init__()
        self.reach = reach(stages)
        self.linear = ToLatent(compression, band=band)
        inside = [PIXEL, *(stage.width for stage in stages[:-1])]
        self.down = nn.ModuleList(
            Down(width, stage.width, time=stage.time, space=stage.space)
            for width, stage in zip(inside, stages, strict=True)
        )
        self.layers = layers(stages)
        self.norm, self.out = nn.LayerNorm(stages[-1].width), SpaceConv(stages[-1].width, compression.channels)

    def forward(self, video: Tensor, memory: Memory | None = None, *, starts: bool = True) -> Tensor:
        """Mean (b, c, t', h', w') of a video (b, 3, t, h, w); `memory` and `starts` for a clip that comes in chunks."""
        x = rearrange(video, "b c t h w -> b t h w c")
        for down, blocks in zip(self.down, self.layers, strict=True):
            x = down(x, starts=starts)
            for block in blocks:
                x = block(x, memory)
        mean = self.linear(video, starts=starts) + self.out(functional.silu(self.norm(x)))
        return rearrange(mean, "b t h w c -> b c t h w")


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, compression: Compression, stages: list[Stage], *, band: tuple[int, int] | None) -> None:
        super().__init__()
        self.reach = reach(stages)
        self.linear = ToPixels(compression, band=band)
        self.inlet = SpaceConv(compression.channels, stages[-1].width)
        outside = [PIXEL, *(stage.width for stage in stages[:-1])]
        self.layers = layers(stages[::-1])
        self.norms = nn.ModuleList(nn.LayerNorm(stage.width) for stage in stages[::-1])
        self.up = nn.ModuleList(
            Up(stage.width, width, time=stage.time, space=stage.space)
            for width, stage in zip(outside[::-1], stages[::-1], strict=True)
        )

    def forward(self, latent: Tensor, memory: Memory | None = None, *, starts: bool = True) -> Tensor:
        """Pixels (b, 3, t, h, w); `memory` and `starts` for a clip that comes in chunks."""
        latent = rearrange(latent, "b c t h w -> b t h w c")
        x = self.inlet(latent)
        for blocks, norm, up in zip(self.layers, self.norms, self.up, strict=True):
            for block in blocks:
                x = block(x, memory)
            x = up(functional.silu(norm(x)), starts=starts)
        return self.linear(latent, starts=starts) + rearrange(x, "b t h w c -> b c t h w")
