"""How a VAE starts: its linear way at the principal components of the corpus, its convolutions at zero output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dit_video.models.vae.block import ResBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dit_video.models.vae.vae import VAE


def initialise(vae: VAE) -> None:
    """Orthonormal linear ways and silent convolutions; in place. Also tags what the optimizers treat apart."""
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.LayerNorm):
            module.reset_parameters()
    nn.init.zeros_(vae.mean)
    nn.init.ones_(vae.std)
    for encode, decode in _ways(vae):
        nn.init.orthogonal_(encode.weight)
        nn.init.zeros_(encode.bias)
        nn.init.zeros_(decode.bias)
        with torch.no_grad():
            decode.weight.copy_(encode.weight.T)
    blocks = [module.narrower for module in vae.modules() if isinstance(module, ResBlock)]
    for last in (*blocks, vae.encoder.out.conv, vae.decoder.up[-1].linear):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    for parameter in vae.parameters():
        parameter.no_decay = True
        parameter.matrix = False
    for way in (vae.encoder.linear, vae.decoder.linear):
        for parameter in way.parameters():
            parameter.rate = 0.1


def _ways(vae: VAE) -> list[tuple[nn.Linear, nn.Linear]]:
    inward, outward = vae.encoder.linear, vae.decoder.linear
    return [(inward.first, outward.first), (inward.rest, outward.rest)]


@torch.no_grad()
def principal(vae: VAE, videos: Sequence[Tensor], *, whitening: float = 0.5) -> None:
    """Set the linear ways to the principal components of `videos`, each (b, 3, t, h, w) in [-1, 1]; in place.

    Component i is scaled by its standard deviation to the power -`whitening`: 0 keeps the scale of pixels, 1 gives
    every component unit variance.
    """
    first, rest = vae.encoder.linear.bands
    firsts = [first.analyse(v[:, :, :1]).flatten(0, 3) for v in videos]
    rests = [rest.analyse(v[:, :, 1:]).flatten(0, 3) for v in videos if v.shape[2] > 1]
    for (encode, decode), blocks in zip(_ways(vae), (firsts, rests), strict=True):
        if not blocks:
            continue
        rows = torch.cat(blocks)
        mean = rows.mean(dim=0)
        covariance = torch.cov((rows - mean).T.double())
        values, vectors = torch.linalg.eigh(covariance)
        kept = vae.compression.channels
        basis = vectors.flip(1)[:, :kept].T.to(rows.dtype)
        scale = values.flip(0)[:kept].clamp_min(1e-8).sqrt().to(rows.dtype) ** whitening
        encode.weight.copy_(basis / scale[:, None])
        encode.bias.copy_(-(basis @ mean) / scale)
        decode.weight.copy_((basis * scale[:, None]).T)
        decode.bias.copy_(mean)


@torch.no_grad()
def measure(vae: VAE, videos: Sequence[Tensor]) -> None:
    """Set the latent statistics (mean and standard deviation a channel) from `videos`; in place."""
    latents = torch.cat([vae.posterior(v).mean.transpose(0, 1).flatten(1) for v in videos], dim=1)
    vae.mean.copy_(latents.mean(dim=1))
    vae.std.copy_(latents.std(dim=1).clamp_min(1e-4))
