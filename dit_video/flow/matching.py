"""The training objective on a pack: draw noise and levels by the pack's place in the order, and weigh the error."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from dit_video.flow.path import interpolate, velocity
from dit_video.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.batch import PackBatch
    from dit_video.flow.levels import Levels

BINS = 4


class Corrupted(NamedTuple):
    """What the model sees and should say: `noisy` and `velocity` (n, c), `sigma` (f,)."""

    noisy: Tensor
    velocity: Tensor
    sigma: Tensor


def corrupt(batch: PackBatch, *, levels: Levels, seed: int) -> Corrupted:
    """Noise and levels of each pack keyed by (seed, purpose, stream, pack): the same for any world size."""
    layout, place = batch.layout, batch.place
    starts = torch.searchsorted(batch.pack, torch.arange(len(place.packs) + 1, device=batch.pack.device)).tolist()
    pack_of_frame = torch.zeros_like(layout.sample).scatter(0, layout.frame, batch.pack)
    noise, sigma = [], []
    for number, key in enumerate(place.packs):
        shape = (starts[number + 1] - starts[number], batch.data.shape[1])
        noise.append(torch.randn(shape, generator=generator(seed, "noise", *key)))
        mine = pack_of_frame == number
        sample, given = layout.sample[mine].cpu(), layout.given[mine].cpu()
        sigma.append(levels.draw(sample - sample.min(), given, generator=generator(seed, "sigma", *key)))
    noises, sigmas = torch.cat(noise).to(batch.data), torch.cat(sigma).to(batch.data)
    noisy = interpolate(batch.data, noises, sigmas[layout.frame])
    return Corrupted(noisy, velocity(batch.data, noises), sigmas)


def matching_loss(
    predicted: Tensor, target: Tensor, sigma: Tensor, batch: PackBatch
) -> tuple[Tensor, dict[str, Tensor]]:
    """The batch's share of the global step's token-weighted squared error, and shares of it to log.

    Metrics: `loss`, and for each of BINS ranges of the noise level the error sum `loss_sigmaI` with its token share
    `share_sigmaI`; likewise for images and videos. Divide the one by the other for a mean.
    """
    layout = batch.layout
    share = batch.weight / batch.place.step_weight
    error = (predicted.float() - target.float()).square().mean(dim=1) * share
    loss = error.sum()
    bins = (sigma[layout.frame] * BINS).long().clamp_max(BINS - 1)
    parts = {"loss": loss.detach()}
    sums = torch.zeros(BINS, device=error.device).index_add(0, bins, error.detach())
    shares = torch.zeros(BINS, device=error.device).index_add(0, bins, share)
    for number in range(BINS):
        parts[f"loss_sigma{number}"], parts[f"share_sigma{number}"] = sums[number], shares[number]
    frames = torch.bincount(layout.sample, minlength=len(layout.lengths))
    image = (frames == 1)[layout.sample[layout.frame]]
    parts["loss_image"], parts["share_image"] = (error.detach() * image).sum(), (share * image).sum()
    return loss, parts
