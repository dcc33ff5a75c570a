"""The loop from noise to data, written once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from dit_video.flow.levels import shifted
from dit_video.sampler.solvers import euler

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from dit_video.sampler.solvers import Step, Velocity


def schedule(steps: int, *, shift: float = 1.0, start: float = 1.0) -> Tensor:
    """Levels (steps + 1,) from `start` down to 0, shifted towards noise for shift > 1."""
    return shifted(torch.linspace(start, 0.0, steps + 1), shift)


def integrate(
    velocity: Velocity,
    noisy: Tensor,
    levels: Tensor,
    *,
    step: Step = euler,
    seen: Callable[[int], None] | None = None,
) -> Tensor:
    """Follow `velocity` from levels[0] to levels[-1].

    Args:
        velocity: of the flow.
        noisy: the state at levels[0].
        levels: falling noise levels.
        step: the solver.
        seen: called with the number of each finished step.
    """
    for number, (sigma, next_sigma) in enumerate(pairwise(levels)):
        noisy = step(velocity, noisy, sigma, next_sigma)
        if seen is not None:
            seen(number)
    return noisy
