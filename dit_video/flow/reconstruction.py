"""What a VAE is trained for, clip by clip, and the running statistics of its latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from dit_video.errors import ConfigError
from dit_video.flow.spectrum import edges, spectrum

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Terms(NamedTuple):
    """Terms of the loss, each (b,); `loss` is their weighted sum and `mse` the squared error in units of [-1, 1].

    `spectrum` and `perceptual` are None where they are not asked for.
    """

    loss: Tensor
    charbonnier: Tensor
    mse: Tensor
    gradient: Tensor
    motion: Tensor
    kl: Tensor
    spectrum: Tensor | None = None
    perceptual: Tensor | None = None

    def known(self) -> dict[str, Tensor]:
        """The terms by name, those left out left out."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Weights of the terms.

    Args:
        charbonnier: of sqrt(error^2 + epsilon^2), robust to outliers (Charbonnier et al. 1994).
        epsilon: where that turns from a square into an absolute value; 0 is L1.
        mse: of the squared error.
        gradient: of the absolute error of differences between neighbours in rows and columns.
        scales: sizes of the frame that `gradient` is taken at, each half the one before.
        motion: of the squared error of differences between neighbouring frames. A slow movement is cheap to get wrong
            frame by frame: without this it stands still within a latent frame and leaps to the next.
        spectrum: of the amplitudes of fine detail (see dit_video.flow.spectrum); needs no weights of anyone.
        perceptual: of pretrained features, (b,) of two videos, its weight within; see dit_video.models.vae.perceptual.
        kl: of the divergence to the unit Gaussian, a latent entry.
        free: bits that a channel may say at no cost, a latent entry (Kingma et al. 2016, free bits).
    """

    charbonnier: float = 1.0
    epsilon: float = 1e-2
    mse: float = 2.0
    gradient: float = 0.0
    scales: int = 1
    motion: float = 4.0
    spectrum: float = 0.0
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None
    kl: float = 1e-5
    free: float = 0.0

    def __post_init__(self) -> None:
        if self.epsilon < 0 or self.scales < 1 or self.free < 0:
            raise ConfigError(
                "tasks.loss needs epsilon and free of at least 0 and scales of at least 1, "
                f"got {self.epsilon:g}, {self.free:g} and {self.scales}"
            )

    def __call__(self, video: Tensor, target: Tensor, kl: Tensor) -> Terms:
        """Terms for reconstructions and targets (b, 3, t, h, w) and divergences (b, c, t', h', w')."""
        error = video - target
        square = error.square().flatten(1)
        charbonnier = self.robust(error.flatten(1), square).mean(dim=1)
        mse, gradient, divergence = square.mean(dim=1), edges(error, scales=self.scales), self.divergence(kl)
        steps = error.diff(dim=2).square().flatten(1)
        motion = steps.mean(dim=1) if steps.shape[1] else torch.zeros_like(mse)
        loss = self.charbonnier * charbonnier + self.mse * mse + self.gradient * gradient
        loss = loss + self.motion * motion + self.kl * divergence
        fine = spectrum(video, target) if self.spectrum else None
        seen = self.perceptual(video, target) if self.perceptual else None
        if fine is not None:
            loss = loss + self.spectrum * fine
        if seen is not None:
            loss = loss + seen
        return Terms(loss, charbonnier, mse, gradient, motion, divergence, fine, seen)

    def robust(self, error: Tensor, square: Tensor) -> Tensor:
        """Charbonnier's, or the absolute value, whose gradient a root of 0 has not."""
        return (square + self.epsilon**2).sqrt() if self.epsilon else error.abs()

    def divergence(self, kl: Tensor) -> Tensor:
        """The divergence a latent entry, (b,): channels within their free bits count as if they used them up."""
        return kl.flatten(2).mean(dim=2).clamp_min(self.free * math.log(2)).mean(dim=1)


@torch.no_grad()
def moments(latent: Tensor) -> Tensor:
    """Weight, and weighted first and second moments of each channel, of a latent (b, c, t, h, w): (3, c), for a mean.

    A batch of images counts as many times less as it has fewer positions than 2,048.
    """
    weight = min(1.0, latent[:, 0].numel() / 2048)
    flat = latent.transpose(0, 1).flatten(1)
    first, second = flat.mean(dim=1), flat.square().mean(dim=1)
    return weight * torch.stack([torch.ones_like(first), first, second])


@torch.no_grad()
def track(mean: Tensor, std: Tensor, seen: Tensor, *, rate: float = 0.02) -> None:
    """Move running channel statistics (c,) towards `moments` of a batch; in place."""
    weight, first, square = seen
    second = std.square() + mean.square()
    mean.lerp_(first / weight, rate * weight)
    second.lerp_(square / weight, rate * weight)
    std.copy_((second - mean.square()).clamp_min(1e-8).sqrt())
