"""Solvers of the probability-flow equation, each one step as a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Velocity(Protocol):
    """(noisy, sigma) -> d noisy / d sigma, shaped like noisy; sigma is a scalar tensor."""

    def __call__(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """The velocity there."""
        ...


class Step(Protocol):
    """One step of a solver from sigma to next_sigma."""

    def __call__(self, velocity: Velocity, noisy: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
        """The state at next_sigma."""
        ...


def euler(velocity: Velocity, noisy: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """One explicit Euler step; one evaluation."""
    return noisy + (next_sigma - sigma) * velocity(noisy, sigma)


def heun(velocity: Velocity, noisy: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """Heun's second-order step (Karras et al. 2022, algorithm 1); two evaluations."""
    first = velocity(noisy, sigma)
    ahead = noisy + (next_sigma - sigma) * first
    return noisy + (next_sigma - sigma) * (first + velocity(ahead, next_sigma)) / 2


STEPS: dict[str, Step] = {"euler": euler, "heun": heun}
