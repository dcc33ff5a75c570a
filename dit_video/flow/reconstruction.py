"""What a VAE is trained for, clip by clip, and the running statistics of its latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Terms(NamedTuple):
    """Terms of the loss, each (b,); `loss` is their weighted sum and `mse` the squared error in units of [-1, 1]."""

    loss: Tensor
    charbonnier: Tensor
    mse: Tensor
    gradient: Tensor
    motion: Tensor
    kl: Tensor


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Weights of the terms.

    Args:
        charbonnier: of sqrt(error^2 + 1e-4), robust to outliers (Charbonnier et al. 1994).
        mse: of the squared error.
        gradient: of the absolute error of differences between neighbours in rows and columns.
        motion: of the squared error of differences between neighbouring frames. A slow movement is cheap to get wrong
            frame by frame: without this it stands still within a latent frame and leaps to the next.
        kl: of the divergence to the unit Gaussian, a latent entry.
    """

    charbonnier: float = 1.0
    mse: float = 2.0
    gradient: float = 0.0
    motion: float = 4.0
    kl: float = 1e-5

    def __call__(self, video: Tensor, target: Tensor, kl: Tensor) -> Terms:
        """Terms for reconstructions and targets (b, 3, t, h, w) and divergences (b, c, t', h', w')."""
        error = video - target
        square = error.square().flatten(1)
        charbonnier = (square + 1e-4).sqrt().mean(dim=1)
        rows, columns = error.diff(dim=-2).abs().flatten(1).mean(dim=1), error.diff(dim=-1).abs().flatten(1).mean(dim=1)
        mse, gradient, divergence = square.mean(dim=1), rows + columns, kl.flatten(1).mean(dim=1)
        steps = error.diff(dim=2).square().flatten(1)
        motion = steps.mean(dim=1) if steps.shape[1] else torch.zeros_like(mse)
        loss = self.charbonnier * charbonnier + self.mse * mse + self.gradient * gradient
        loss = loss + self.motion * motion + self.kl * divergence
        return Terms(loss, charbonnier, mse, gradient, motion, divergence)


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
