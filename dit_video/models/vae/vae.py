"""A causal 3-D variational autoencoder: 1 + k*time frames become 1 + k latent frames, and come back one by one.

- latent = linear(pixels) + convolutions(pixels); pixels = linear(latent) + convolutions(latent). The linear way is the
  corpus's principal components to start with, the convolutions start at zero.
- The work is done where it is coarse: the first stage takes blocks of pixels, nothing runs at full resolution.
- Frame t of the latent sees frames up to t alone, so a video is a stream: `stream_encode` and `stream_decode` equal
  `encode` and `decode`, with memory constant in the video's length. `tile` bounds it in the frame's size.
- `normalise` maps latents to zero mean and about unit variance; its statistics are stored with the weights. `equalise`
  says how far the channels' scales are evened out: principal components that keep some of theirs are learnt from coarse
  to fine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from dit_video.errors import ShapeError
from dit_video.models.vae.coder import Decoder, Encoder, Stage
from dit_video.models.vae.init import initialise
from dit_video.models.vae.tile import Passage
from dit_video.shapes import Compression

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor


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


class VAE(nn.Module):
    """The autoencoder.

    Args:
        channels: of the latent.
        widths: of the stages, from pixels to latents.
        blocks: residual blocks of each stage of the encoder.
        decoder_blocks: those of the decoder; the same, unless given.
        time: frames that each stage's entry makes one of; their product is the compression in time.
        space: pixels a side that each stage's entry makes one of; their product is the compression in space.
        band: lowest frequencies in time and in space that the linear way sees of a block; all, unless given.
        logvar: of the posterior, the same everywhere: how much noise the decoder learns to bear.
        equalise: 1 normalises every channel to unit variance, 0 all channels by one scale.
    """

    mean: Tensor
    std: Tensor
    tile: int | None = None
    """Pixels a side of the tiles that frames are computed in where a call names none; None for whole frames."""

    def __init__(
        self,
        *,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        decoder_blocks: Sequence[int] | None = None,
        time: Sequence[int] = (1, 2, 2),
        space: Sequence[int] = (2, 2, 2),
        band: tuple[int, int] | None = None,
        logvar: float = -5.0,
        equalise: float = 1.0,
    ) -> None:
        super().__init__()
        self.compression = Compression(time=math.prod(time), space=math.prod(space), channels=channels)
        self.logvar, self.equalise = logvar, equalise
        encoding, decoding = (
            [Stage(width=w, blocks=n, time=t, space=s) for w, n, t, s in zip(widths, counts, time, space, strict=True)]
            for counts in (blocks, blocks if decoder_blocks is None else decoder_blocks)
        )
        self.encoder = Encoder(self.compression, encoding, band=band)
        self.decoder = Decoder(self.compression, decoding, band=band)
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

    def encode(self, video: Tensor, *, tile: int | None = None) -> Tensor:
        """Normalised latent (b, c, 1 + k, h', w') of a video (b, 3, 1 + k*time, h, w) in [-1, 1].

        With `tile`, in parts of at most so many pixels a side: the same values, in less memory.
        """
        return self.normalise(self._encoding(tile)(video)).contiguous()

    def decode(self, latent: Tensor, *, tile: int | None = None) -> Tensor:
        """Video (b, 3, 1 + k*time, h, w), about [-1, 1], of a normalised latent; `tile` as in `encode`."""
        return self._decoding(tile)(self.denormalise(latent))

    def stream_encode(self, videos: Iterable[Tensor], *, tile: int | None = None) -> Iterator[Tensor]:
        """Encode a clip that comes in chunks of any number of frames (b, 3, any, h, w); equals `encode` of the whole.

        Frames wait until there are as many as make a latent frame; ShapeError where the clip ends before that.
        """
        encoding, time, waiting = self._encoding(tile, streams=True), self.compression.time, None
        for video in videos:
            frames = video if waiting is None else torch.cat([waiting, video], dim=2)
            first = min(frames.shape[2], 1) if encoding.starts else 0
            ready = first + (frames.shape[2] - first) // time * time
            waiting = frames[:, :, ready:].clone()  # a view would keep all frames
            if ready:
                yield self.normalise(encoding(frames[:, :, :ready])).contiguous()
        if waiting is not None and waiting.shape[2]:
            raise ShapeError(f"frames must be 1 + k*{time}; the clip ends {waiting.shape[2]} after the last of these")

    def stream_decode(self, latents: Iterable[Tensor], *, tile: int | None = None) -> Iterator[Tensor]:
        """Decode a clip that comes in chunks of latent frames (b, c, any, h', w'); equals `decode` of the whole."""
        decoding = self._decoding(tile, streams=True)
        for latent in latents:
            yield decoding(self.denormalise(latent))

    def _encoding(self, tile: int | None, *, streams: bool = False) -> Passage:
        return Passage(self.encoder, scales=(self.compression.space, 1), tile=tile or self.tile, streams=streams)

    def _decoding(self, tile: int | None, *, streams: bool = False) -> Passage:
        return Passage(self.decoder, scales=(1, self.compression.space), tile=tile or self.tile, streams=streams)
