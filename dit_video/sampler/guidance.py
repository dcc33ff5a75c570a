"""Guidance takes velocities and gives a velocity; the loop does not know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.sampler.solvers import Velocity


def guide(velocity: Velocity, empty: Velocity, *, scale: float, interval: tuple[float, float] = (0.0, 1.0)) -> Velocity:
    """Classifier-free guidance (Ho & Salimans 2022, equation 6) within an interval (Kynkaanniemi et al. 2024).

    Args:
        velocity: with the prompt.
        empty: without it.
        scale: 1 is no guidance.
        interval: levels (lowest, highest) in which it acts.
    """
    low, high = interval

    def guided(noisy: Tensor, sigma: Tensor) -> Tensor:
        towards = velocity(noisy, sigma)
        if scale == 1 or not low <= float(sigma) <= high:
            return towards
        away = empty(noisy, sigma)
        return away + scale * (towards - away)

    return guided
