"""The linear way between pixels and latents: each latent position and the block of pixels it stands for.

- It is the whole autoencoder at the start, set to the corpus's principal components (`init.principal`); the
  convolutions are added to it and learn what neighbours know. (Non-parametric shortcuts: DC-AE, Chen et al. 2024,
  section 3.2.)
- The first frame has matrices of its own, since it stands for one frame and the others for `time` frames. An image goes
  through those of the others as no frames at all: every parameter has a gradient on every rank, whatever its batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.shapes import Compression

PIXEL = 3


def cut(video: Tensor, *, time: int, space: int) -> Tensor:
    """Blocks (b, t, h, w, r*p*q*3) of a video (b, 3, t*r, h*p, w*q)."""
    return rearrange(video, "b c (t r) (h p) (w q) -> b t h w (r p q c)", r=time, p=space, q=space)


def join(blocks: Tensor, *, time: int, space: int) -> Tensor:
    """The video that `cut` made blocks of."""
    return rearrange(blocks, "b t h w (r p q c) -> b c (t r) (h p) (w q)", r=time, p=space, q=space, c=PIXEL)


class ToLatent(nn.Module):
    """Pixels (b, 3, t, h, w) to latents (b, c, t', h', w'), block by block."""

    def __init__(self, compression: Compression) -> None:
        super().__init__()
        self.time, self.space = compression.time, compression.space
        block = PIXEL * compression.space**2
        self.first = nn.Linear(block, compression.channels)
        self.rest = nn.Linear(block * compression.time, compression.channels)

    def forward(self, video: Tensor, *, starts: bool = True) -> Tensor:
        """`starts` tells whether the first frame is the first of the clip (else it is the next chunk of a stream)."""
        parts = []
        if starts:
            parts.append(self.first(cut(video[:, :, :1], time=1, space=self.space)))
            video = video[:, :, 1:]
        parts.append(self.rest(cut(video, time=self.time, space=self.space)))
        return rearrange(torch.cat(parts, dim=1), "b t h w c -> b c t h w")


class ToPixels(nn.Module):
    """Latents (b, c, t', h', w') to pixels (b, 3, t, h, w), block by block."""

    def __init__(self, compression: Compression) -> None:
        super().__init__()
        self.time, self.space = compression.time, compression.space
        block = PIXEL * compression.space**2
        self.first = nn.Linear(compression.channels, block)
        self.rest = nn.Linear(compression.channels, block * compression.time)

    def forward(self, latent: Tensor, *, starts: bool = True) -> Tensor:
        """`starts` as in ToLatent."""
        latent = rearrange(latent, "b c t h w -> b t h w c")
        parts = []
        if starts:
            parts.append(join(self.first(latent[:, :1]), time=1, space=self.space))
            latent = latent[:, 1:]
        parts.append(join(self.rest(latent), time=self.time, space=self.space))
        return torch.cat(parts, dim=2)
