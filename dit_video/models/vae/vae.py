"""A causal 3-D variational autoencoder: 1 + k*time frames become 1 + k latent frames, and come back one by one.

- latent = linear(pixels) + convolutions(pixels); pixels = linear(latent) + convolutions(latent). The linear way is the
  corpus's principal components to start with, the convolutions start at zero.
- Frame t of the latent sees frames up to t alone, so a video is a stream: `stream_decode` equals `decode`, with memory
  constant in the video's length.
- `normalise` maps latents to zero mean and about unit variance; its statistics are stored with the weights. `equalise`
  says how far the channels' scales are evened out: principal components that keep some of theirs are learnt from coarse
  to fine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from dit_video.models.vae.block import ChannelNorm, Down, ResBlock, SpaceConv, Up
from dit_video.models.vae.embed import PIXEL, ToLatent, ToPixels
from dit_video.models.vae.init import initialise
from dit_video.shapes import Compression

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from dit_video.models.vae.block import Memory


class Posterior(NamedTuple):
    """A diagonal Gaussian over latents, each (b, c, t, h, w)."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + standard deviation * noise (Kingma & Welling 2014, equation 4)."""
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence to the unit Gaussian, by entry."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar)


class Encoder(nn.Module):
    """Pixels to the mean of the latent."""

    def __init__(
        self,
        compression: Compression,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        stages: Sequence[tuple[int, int]],
    ) -> None:
        super().__init__()
        self.linear = ToLatent(compression)
        inside = [PIXEL, *widths[:-1]]
        self.down = nn.ModuleList(
            Down(a, b, time=t, space=s) for a, b, (t, s) in zip(inside, widths, stages, strict=True)
        )
        self.layers = nn.ModuleList(
            nn.ModuleList(ResBlock(w) for _ in range(n)) for w, n in zip(widths, blocks, strict=True)
        )
        self.norm, self.out = ChannelNorm(widths[-1]), SpaceConv(widths[-1], compression.channels)

    def forward(self, video: Tensor, memory: Memory | None = None, *, starts: bool = True) -> Tensor:
        """Mean (b, c, t', h', w'); `memory` and `starts` for a clip that comes in chunks."""
        x = video
        for down, blocks in zip(self.down, self.layers, strict=True):
            x = down(x, memory)
            for block in blocks:
                x = block(x, memory)
        return self.linear(video, starts=starts) + self.out(nn.functional.silu(self.norm(x)))


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(
        self,
        compression: Compression,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        stages: Sequence[tuple[int, int]],
    ) -> None:
        super().__init__()
        self.linear = ToPixels(compression)
        self.inlet = SpaceConv(compression.channels, widths[-1])
        outside = [PIXEL, *widths[:-1]]
        self.layers = nn.ModuleList(
            nn.ModuleList(ResBlock(w) for _ in range(n)) for w, n in reversed(list(zip(widths, blocks, strict=True)))
        )
        self.norms = nn.ModuleList(ChannelNorm(w) for w in reversed(widths))
        self.up = nn.ModuleList(
            Up(a, b, time=t, space=s) for a, b, (t, s) in reversed(list(zip(widths, outside, stages, strict=True)))
        )

    def forward(self, latent: Tensor, memory: Memory | None = None, *, starts: bool = True) -> Tensor:
        """Pixels (b, 3, t, h, w); `memory` and `starts` for a clip that comes in chunks."""
        x = self.inlet(latent)
        for blocks, norm, up in zip(self.layers, self.norms, self.up, strict=True):
            for block in blocks:
                x = block(x, memory)
            x = up(nn.functional.silu(norm(x)), starts=starts)
        return self.linear(latent, starts=starts) + x


class VAE(nn.Module):
    """The autoencoder.

    Args:
        channels: of the latent.
        widths: of the stages, from pixels to latents.
        blocks: residual blocks of each stage.
        time: frames that each stage's entry makes one of; their product is the compression in time.
        space: pixels a side that each stage's entry makes one of; their product is the compression in space.
        logvar: of the posterior, the same everywhere: how much noise the decoder learns to bear.
        equalise: 1 normalises every channel to unit variance, 0 all channels by one scale.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        time: Sequence[int] = (1, 2, 2),
        space: Sequence[int] = (2, 2, 2),
        logvar: float = -5.0,
        equalise: float = 1.0,
    ) -> None:
        super().__init__()
        self.compression = Compression(time=math.prod(time), space=math.prod(space), channels=channels)
        self.logvar, self.equalise = logvar, equalise
        stages = list(zip(time, space, strict=True))
        self.encoder = Encoder(self.compression, widths=widths, blocks=blocks, stages=stages)
        self.decoder = Decoder(self.compression, widths=widths, blocks=blocks, stages=stages)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.initialise()

    def initialise(self) -> None:
        """Initial values and tags of all parameters and buffers, in place."""
        initialise(self)

    def blocks(self) -> Iterator[nn.Module]:
        """The units of sharding, recompute and compilation."""
        for part in (self.encoder, self.decoder):
            for stage in part.layers:
                yield from stage

    def posterior(self, video: Tensor) -> Posterior:
        """Distribution of the latent of a video (b, 3, 1 + k*time, h, w) in [-1, 1], not normalised."""
        mean = self.encoder(video)
        return Posterior(mean, torch.full_like(mean, self.logvar))

    def latent_shape(self, video: Tensor) -> tuple[int, ...]:
        """Shape (b, c, 1 + k, h', w') of the latent of a video (b, 3, 1 + k*time, h, w)."""
        frames, height, width = video.shape[2:]
        time, space = self.compression.time, self.compression.space
        return len(video), self.compression.channels, 1 + (frames - 1) // time, height // space, width // space

    def forward(self, video: Tensor, noise: Tensor) -> tuple[Tensor, Posterior]:
        """Reconstruction and posterior; `noise` is shaped like the latent."""
        posterior = self.posterior(video)
        return self.decoder(posterior.sample(noise)), posterior

    def scale(self) -> Tensor:
        """What `normalise` divides by, (c, 1, 1, 1)."""
        overall = self.std.square().mean().sqrt()
        return (self.std**self.equalise * overall ** (1 - self.equalise))[:, None, None, None]

    def normalise(self, latent: Tensor) -> Tensor:
        """Raw latents to what the DiT sees: zero mean and about unit variance over the corpus."""
        return (latent - self.mean[:, None, None, None]) / self.scale()

    def denormalise(self, latent: Tensor) -> Tensor:
        """The reverse of `normalise`."""
        return latent * self.scale() + self.mean[:, None, None, None]

    def encode(self, video: Tensor) -> Tensor:
        """Normalised latent (b, c, 1 + k, h', w') of a video (b, 3, 1 + k*time, h, w) in [-1, 1]."""
        return self.normalise(self.posterior(video).mean).contiguous()

    def decode(self, latent: Tensor) -> Tensor:
        """Video (b, 3, 1 + k*time, h, w), about [-1, 1], of a normalised latent."""
        return self.decoder(self.denormalise(latent))

    def stream_decode(self, latents: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decode a clip that comes in chunks of latent frames (b, c, any, h', w'); equals `decode` of the whole."""
        memory: Memory = {}
        for number, latent in enumerate(latents):
            yield self.decoder(self.denormalise(latent), memory, starts=number == 0)
