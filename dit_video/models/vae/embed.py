"""The linear way between pixels and latents: each latent position and the block of pixels it stands for.

- It is the whole autoencoder at the start, set to the corpus's principal components (`init.principal`); the
  convolutions are added to it and learn what neighbours know. (Non-parametric shortcuts: DC-AE, Chen et al. 2024,
  section 3.2.)
- The first frame has matrices of its own, since it stands for one frame and the others for `time` frames. An image goes
  through those of the others as no frames at all: every parameter has a gradient on every rank, whatever its batch.
- A block of 8x32x32 pixels has 24,576 numbers, and principal components are smooth: with `band` the linear way sees a
  block's lowest frequencies alone (cosines, orthonormal). Kept are four of eight in time and 12 of 32 in space, and
  the matrices have a fourteenth of their parameters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from einops import einsum, rearrange
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.shapes import Compression

PIXEL = 3


def cut(video: Tensor, *, time: int, space: int) -> Tensor:
    """Blocks (b, t, h, w, r, p, q, 3) of a video (b, 3, t*r, h*p, w*q)."""
    return rearrange(video, "b c (t r) (h p) (w q) -> b t h w r p q c", r=time, p=space, q=space)


def join(blocks: Tensor) -> Tensor:
    """The video that `cut` made blocks of."""
    return rearrange(blocks, "b t h w r p q c -> b c (t r) (h p) (w q)")


def cosines(kept: int, length: int, *, like: Tensor) -> Tensor:
    """The `kept` lowest of the orthonormal cosines over `length` places (DCT-II), (kept, length)."""
    places = torch.arange(length, dtype=torch.float64, device=like.device) + 0.5
    waves = torch.cos(torch.arange(kept, dtype=torch.float64, device=like.device)[:, None] * places * math.pi / length)
    return (waves / waves.norm(dim=1, keepdim=True)).to(like)


class Band:
    """The lowest frequencies of blocks of `time` frames of `space` x `space` pixels; all, where none are named."""

    def __init__(self, *, time: int, space: int, kept: tuple[int, int] | None) -> None:
        self.time, self.space = time, space
        self.kept_time, self.kept_space = (min(kept[0], time), min(kept[1], space)) if kept else (time, space)
        self.whole = kept is None
        self.size = PIXEL * self.kept_time * self.kept_space**2

    def analyse(self, video: Tensor) -> Tensor:
        """(b, 3, t*r, h*p, w*q) -> (b, t, h, w, size)."""
        blocks = cut(video, time=self.time, space=self.space)
        if not self.whole:
            across = cosines(self.kept_space, self.space, like=blocks)
            blocks = einsum(blocks, across, "b t h w r p q c, j q -> b t h w r p j c")
            blocks = einsum(blocks, across, "b t h w r p j c, i p -> b t h w r i j c")
            along = cosines(self.kept_time, self.time, like=blocks)
            blocks = einsum(blocks, along, "b t h w r i j c, k r -> b t h w k i j c")
        return rearrange(blocks, "b t h w r p q c -> b t h w (r p q c)")

    def synthesise(self, values: Tensor) -> Tensor:
        """The video that `analyse` made values of, without its higher frequencies."""
        sizes = {"k": self.kept_time, "i": self.kept_space, "j": self.kept_space}
        blocks = rearrange(values, "b t h w (k i j c) -> b t h w k i j c", **sizes)
        if not self.whole:
            along = cosines(self.kept_time, self.time, like=blocks)
            blocks = einsum(blocks, along, "b t h w k i j c, k r -> b t h w r i j c")
            across = cosines(self.kept_space, self.space, like=blocks)
            blocks = einsum(blocks, across, "b t h w r i j c, i p -> b t h w r p j c")
            blocks = einsum(blocks, across, "b t h w r p j c, j q -> b t h w r p q c")
        return join(blocks)


def bands(compression: Compression, kept: tuple[int, int] | None) -> tuple[Band, Band]:
    """What is seen of a first frame, and of the blocks of frames after it."""
    first = Band(time=1, space=compression.space, kept=kept)
    return first, Band(time=compression.time, space=compression.space, kept=kept)


class ToLatent(nn.Module):
    """Pixels (b, 3, t, h, w) to latents (b, t', h', w', c), block by block."""

    def __init__(self, compression: Compression, *, band: tuple[int, int] | None) -> None:
        super().__init__()
        self.bands = bands(compression, band)
        self.first, self.rest = (nn.Linear(part.size, compression.channels) for part in self.bands)

    def forward(self, video: Tensor, *, starts: bool = True) -> Tensor:
        """`starts` tells whether the first frame is the first of the clip (else it is the next chunk of a stream)."""
        parts = []
        if starts:
            parts.append(self.first(self.bands[0].analyse(video[:, :, :1])))
            video = video[:, :, 1:]
        parts.append(self.rest(self.bands[1].analyse(video)))
        return torch.cat(parts, dim=1)


class ToPixels(nn.Module):
    """Latents (b, t', h', w', c) to pixels (b, 3, t, h, w), block by block."""

    def __init__(self, compression: Compression, *, band: tuple[int, int] | None) -> None:
        super().__init__()
        self.bands = bands(compression, band)
        self.first, self.rest = (nn.Linear(compression.channels, part.size) for part in self.bands)

    def forward(self, latent: Tensor, *, starts: bool = True) -> Tensor:
        """`starts` as in ToLatent."""
        parts = []
        if starts:
            parts.append(self.bands[0].synthesise(self.first(latent[:, :1])))
            latent = latent[:, 1:]
        parts.append(self.bands[1].synthesise(self.rest(latent)))
        return torch.cat(parts, dim=2)
