"""The straight path between data and noise (rectified flow, Liu et al. 2022; flow matching, Lipman et al. 2022).

sigma is 0 at data and 1 at noise: noisy = (1 - sigma) data + sigma noise, velocity = d noisy / d sigma = noise - data.
`sigma` has one entry for each entry of the first dimension of `data`; `expand` is the only place that broadcasts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def expand(sigma: Tensor, like: Tensor) -> Tensor:
    """sigma (n,) with trailing axes added, to broadcast against `like` (n, ...)."""
    return sigma[(...,) + (None,) * (like.ndim - sigma.ndim)]


def interpolate(data: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The point of the path at level sigma."""
    level = expand(sigma, data)
    return (1 - level) * data + level * noise


def velocity(data: Tensor, noise: Tensor) -> Tensor:
    """The derivative of the path with respect to sigma, constant along it."""
    return noise - data


def velocity_to_data(velocity: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
    """The clean end of the path that a velocity points away from."""
    return noisy - expand(sigma, noisy) * velocity


def velocity_to_noise(velocity: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
    """The noise end of the path that a velocity points to."""
    return noisy + (1 - expand(sigma, noisy)) * velocity
