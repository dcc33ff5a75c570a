"""What a VAE's latents are made of: which channels carry anything, and how fine its detail is.

- carried: the share of a channel's variance that is the video's, not the posterior's noise; a channel below `DEAD` is
  dead (active units of Burda et al. 2016, as a share).
- spectrum: power of normalised latents by spatial frequency, in cycles a latent position, the mean of all channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from dit_video.models.vae import Posterior

DEAD = 0.01
BINS = 16
HIGHEST = 0.5  # cycles a position along an axis
LEAST = 4  # positions a side of a latent with a spectrum


@dataclass
class Channels:
    """Sums over all positions of all clips, by channel (c,), in float64."""

    count: int = 0
    total: Tensor | None = None
    squares: Tensor | None = None
    noise: Tensor | None = None
    nats: Tensor | None = None

    def add(self, posterior: Posterior) -> None:
        """The posterior (1, c, t, h, w) of a clip, or of its beginning."""
        mean, logvar = (part.detach().double().cpu().transpose(0, 1).flatten(1) for part in posterior)
        kl = posterior.kl().detach().double().cpu().transpose(0, 1).flatten(1)
        new = [mean.sum(1), mean.square().sum(1), logvar.exp().sum(1), kl.sum(1)]
        old = [self.total, self.squares, self.noise, self.nats]
        sums = [now if before is None else before + now for before, now in zip(old, new, strict=True)]
        self.total, self.squares, self.noise, self.nats = sums
        self.count += mean.shape[1]

    def figures(self) -> dict[str, Any]:
        """Variance, noise, KL in nats and the carried share of each channel; how many are dead."""
        assert self.total is not None
        assert self.squares is not None
        assert self.noise is not None
        assert self.nats is not None
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp_min(0)
        noise = self.noise / self.count
        carried = torch.where(variance > 0, variance / (variance + noise), torch.zeros_like(variance))
        return {
            "mean": mean.tolist(),
            "variance": variance.tolist(),
            "noise": noise.tolist(),
            "kl": (self.nats / self.count).tolist(),
            "carried": carried.tolist(),
            "dead": [channel for channel, share in enumerate(carried.tolist()) if share < DEAD],
        }


class Spectrum:
    """Power by spatial frequency, summed in `BINS` rings from 0 to half a cycle."""

    def __init__(self) -> None:
        self.power: NDArray[np.float64] = np.zeros(BINS)
        self.count: NDArray[np.float64] = np.zeros(BINS)

    def add(self, latent: Tensor) -> None:
        """A normalised latent (1, c, t, h, w), any part of a clip."""
        height, width = latent.shape[-2:]
        if min(height, width) < LEAST:
            return
        values = latent.detach().double().cpu().flatten(0, 2)
        power = torch.fft.fft2(values, norm="ortho").abs().square().sum(0).numpy()
        rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
        frequency = np.hypot(rows, columns)
        rings = np.floor(frequency / HIGHEST * BINS).astype(np.int64)
        inside = (rings < BINS) & (frequency > 0)
        self.power += np.bincount(rings[inside], power[inside], BINS)
        self.count += np.bincount(rings[inside], minlength=BINS) * len(values)

    def figures(self) -> list[tuple[float, float]]:
        """(frequency, power) of each ring that anything lies in; white noise of unit variance has a power of 1."""
        places = (np.arange(BINS) + 0.5) / BINS * HIGHEST
        return [
            (float(place), float(power / count))
            for place, power, count in zip(places, self.power, self.count, strict=True)
            if count
        ]
