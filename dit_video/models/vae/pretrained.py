"""Published video autoencoders of `diffusers`, to be used as our own: same sizes, same ranges, normalised latents.

- One table names the classes; everything else is read off the model: its compression, its latent statistics.
- normalised = (latent - mean) / std, where a scaling factor s is a std of 1 / s, as in each class's own pipeline.
- Frames are 1 + k*time for all of them. DC-AE knows pictures alone: it takes every frame as one.
- `stream_decode` equals `decode`. Wan keeps the state of its causal convolutions, CogVideoX that of two latent frames
  at a time; of the others a frame may see the whole clip, so they decode it at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor, nn

from dit_video.errors import ConfigError
from dit_video.models.vae.vae import Posterior
from dit_video.shapes import Compression, VideoShape

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

CLASSES = (
    "AutoencoderKLWan",
    "AutoencoderKLLTXVideo",
    "AutoencoderKLLTX2Video",
    "AutoencoderKLCogVideoX",
    "AutoencoderKLHunyuanVideo",
    "AutoencoderKLHunyuanVideo15",
    "AutoencoderKLMochi",
    "AutoencoderDC",
)
OVERLAP = 0.25  # of a tile


class Pretrained(nn.Module):
    """A model of one of `CLASSES`.

    Args:
        model: of diffusers, in the precision that it is to run in.
        digest: SHA-256 of its weights as they were stored.
        tile: pixels a side of the tiles that larger frames are cut into, to save memory; None for no tiles.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, *, digest: str | None = None, tile: int | None = None) -> None:
        super().__init__()
        self.model, self.digest, self.kind = model, digest, type(model).__name__
        self.compression = compression_of(model)
        mean, std = statistics(model, channels=self.compression.channels)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        if tile is not None:
            set_tile(model, tile, space=self.compression.space)

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in; videos and latents come and go in float32."""
        return next(self.model.parameters()).dtype

    @property
    def streams(self) -> bool:
        """Whether the memory of `stream_decode` is independent of the video's length, but for latents."""
        return self.kind in STREAMS and not getattr(self.model, "use_tiling", False)

    def latent_shape(self, video: Tensor) -> tuple[int, ...]:
        """Shape (b, c, 1 + k, h', w') of the latent of a video; ShapeError where it has none."""
        frames, height, width = video.shape[2:]
        shape = VideoShape(frames=frames, height=height, width=width).to_latent(self.compression)
        return len(video), self.compression.channels, shape.frames, shape.height, shape.width

    def posterior(self, video: Tensor) -> Posterior:
        """Distribution of the latent, not normalised; that of a model without one is a point."""
        self.latent_shape(video)
        parts = [self._posterior(clip) for clip in video.to(self.dtype).split(1)]
        return Posterior(*(torch.cat(part).float() for part in zip(*parts, strict=True)))

    def _posterior(self, clip: Tensor) -> Posterior:
        if self.kind == "AutoencoderDC":
            mean = self.model.encode(rearrange(clip, "b c t h w -> (b t) c h w")).latent
            mean = rearrange(mean, "(b t) c h w -> b c t h w", b=len(clip))
            return Posterior(mean, torch.full_like(mean, -torch.inf))
        found = self.model.encode(clip).latent_dist
        return Posterior(found.mode(), found.logvar)

    def normalise(self, latent: Tensor) -> Tensor:
        """Raw latents to those of zero mean and about unit variance."""
        return (latent - self.mean[:, None, None, None]) / self.std[:, None, None, None]

    def denormalise(self, latent: Tensor) -> Tensor:
        """The reverse of `normalise`."""
        return latent * self.std[:, None, None, None] + self.mean[:, None, None, None]

    def encode(self, video: Tensor) -> Tensor:
        """Normalised latent (b, c, 1 + k, h', w') of a video (b, 3, 1 + k*time, h, w) in [-1, 1]."""
        return self.normalise(self.posterior(video).mean).contiguous()

    def decode(self, latent: Tensor) -> Tensor:
        """Video (b, 3, 1 + k*time, h, w), about [-1, 1], of a normalised latent; one clip after the other."""
        raw = self.denormalise(latent.float()).to(self.dtype)
        with self._same_noise(latent.device):
            return torch.cat([self._decode(clip) for clip in raw.split(1)]).float()

    def _decode(self, clip: Tensor) -> Tensor:
        if self.kind == "AutoencoderDC":
            frames = self.model.decode(rearrange(clip, "b c t h w -> (b t) c h w")).sample
            return rearrange(frames, "(b t) c h w -> b c t h w", b=len(clip))
        if self.kind == "AutoencoderKLCogVideoX":
            return self.model.decode(odd(clip)).sample[:, :, : self._frames(clip)]
        if self.model.config.get("timestep_conditioning"):  # LTX from 0.9.1 on; its pipeline's default is 0
            return self.model.decode(clip, clip.new_zeros(len(clip))).sample
        return self.model.decode(clip).sample

    def _frames(self, latent: Tensor) -> int:
        return 1 + (latent.shape[2] - 1) * self.compression.time

    def _same_noise(self, device: torch.device) -> AbstractContextManager[None]:
        """Decoders that draw noise draw the same each time; nobody else's generator moves."""
        noisy = self.model.config.get("decoder_inject_noise") or ()
        return drawn_alike(device) if noisy is True or any(noisy) else nullcontext()

    def stream_decode(self, latents: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decode a clip that comes in chunks of latent frames (b, c, any, h', w'); equals `decode` of the whole."""
        if not self.streams:
            yield self.decode(torch.cat(list(latents), dim=2))
            return
        raw = (self.denormalise(latent.float()).to(self.dtype) for latent in latents)
        for video in STREAMS[self.kind](self.model, raw):
            yield video.float()


@contextmanager
def drawn_alike(device: torch.device) -> Iterator[None]:
    """While it lasts, torch's generators begin at 0; afterwards they are where they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def compression_of(model: nn.Module) -> Compression:
    """What a latent position of a model of `CLASSES` stands for."""
    config, own = model.config, vars(model)
    time = own.get("temporal_compression_ratio") or config.get("temporal_compression_ratio")
    space = own.get("spatial_compression_ratio") or 2 ** (len(config.get("block_out_channels", ())) - 1)
    channels = config.get("latent_channels") or config["z_dim"]
    return Compression(
        time=int(time or config.get("scale_factor_temporal") or 4), space=int(space), channels=int(channels)
    )


def statistics(model: nn.Module, *, channels: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latent's channels, each (c,): of the model's buffers or its config."""
    found = []
    for name, default in (("latents_mean", 0.0), ("latents_std", 1.0)):
        given = getattr(model, name) if name in dict(model.named_buffers()) else model.config.get(name)
        value = torch.full((channels,), default) if given is None else torch.as_tensor(given).detach().float().cpu()
        found.append(value.clone())
    return found[0], found[1] / float(model.config.get("scaling_factor") or 1.0)


def set_tile(model: nn.Module, tile: int, *, space: int) -> None:
    """Have frames larger than `tile` pixels a side cut into tiles that overlap by a quarter."""
    if tile < 4 * space or tile % (4 * space):
        raise ConfigError(f"tile={tile} does not fit; expected a multiple of {4 * space} pixels")
    wanted: dict[str, Any] = {}
    for name in inspect.signature(model.enable_tiling).parameters:
        side = name.endswith(("_height", "_width"))
        if side and "sample_min" in name:
            wanted[name] = tile
        elif side and "sample_stride" in name:
            wanted[name] = round(tile * (1 - OVERLAP))
        elif side and "latent_min" in name:
            wanted[name] = tile // space
        elif side or name == "tile_overlap_factor":
            wanted[name] = OVERLAP
    model.enable_tiling(**wanted)


def stream_wan(model: nn.Module, latents: Iterable[Tensor]) -> Iterator[Tensor]:
    """AutoencoderKLWan, a latent frame at a time; the state of its convolutions goes from each to the next."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify

    state: list[Any] = [None] * sum(isinstance(part, WanCausalConv3d) for part in model.decoder.modules())
    first = True
    for latent in latents:
        for frame in model.post_quant_conv(latent).split(1, dim=2):
            video = model.decoder(frame, feat_cache=state, feat_idx=[0], first_chunk=first)
            if model.config.patch_size is not None:
                video = unpatchify(video, patch_size=model.config.patch_size)
            yield video.clamp(-1.0, 1.0)
            first = False


def odd(latent: Tensor) -> Tensor:
    """CogVideoX takes one latent frame, or an odd number (1 + 8k video frames): the last of an even number comes twice.

    Of an even number it would make a picture of `time` frames out of the first.
    """
    return latent if latent.shape[2] % 2 else torch.cat([latent, latent[:, :, -1:]], dim=2)


def stream_cogvideox(model: nn.Module, latents: Iterable[Tensor]) -> Iterator[Tensor]:
    """AutoencoderKLCogVideoX: the first latent frame and two more, then two at a time, as its `decode` takes them."""
    given = torch.cat(list(latents), dim=2)
    whole, state, left = odd(given), None, 1 + (given.shape[2] - 1) * int(model.config.temporal_compression_ratio)
    for part in whole.split([min(whole.shape[2], 3), *[2] * ((whole.shape[2] - 3) // 2)], dim=2):
        latent = part if model.post_quant_conv is None else model.post_quant_conv(part)
        video, state = model.decoder(latent, conv_cache=state)
        yield video[:, :, :left]
        left -= video.shape[2]


STREAMS: dict[str, Callable[[nn.Module, Iterable[Tensor]], Iterator[Tensor]]] = {
    "AutoencoderKLWan": stream_wan,
    "AutoencoderKLCogVideoX": stream_cogvideox,
}
