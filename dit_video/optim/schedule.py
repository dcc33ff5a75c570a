"""Learning-rate schedules: factors of the base rate as functions of the samples seen, for any number of processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dit_video.errors import ConfigError

Schedule = Callable[[int], float]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A linear warm-up over `warmup` samples, then 1."""

    warmup: int = 0

    def __call__(self, samples_seen: int) -> float:
        """The factor after `samples_seen` samples."""
        return min(samples_seen / self.warmup, 1.0) if self.warmup else 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """A linear warm-up over `warmup` samples, then half a cosine down to `floor` at `total` samples."""

    total: int
    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < self.total:
            raise ConfigError(
                f"the warm-up of {self.warmup} samples must be shorter than the {self.total} of the run; "
                "change optim.schedule.warmup or run.samples"
            )

    def __call__(self, samples_seen: int) -> float:
        """The factor after `samples_seen` samples."""
        if samples_seen < self.warmup:
            return samples_seen / self.warmup
        progress = min((samples_seen - self.warmup) / (self.total - self.warmup), 1.0)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class Trapezoid:
    """A linear warm-up over `warmup` samples, then 1, then a linear decay to `floor` over the last `decay` samples."""

    total: int
    warmup: int = 0
    decay: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.decay < 0 or self.warmup + self.decay > self.total:
            raise ConfigError(
                f"warm-up ({self.warmup}) and decay ({self.decay}) must fit into the {self.total} samples of the run; "
                "change optim.schedule.warmup, optim.schedule.decay or run.samples"
            )

    def __call__(self, samples_seen: int) -> float:
        """The factor after `samples_seen` samples."""
        left = self.total - samples_seen
        up = samples_seen / self.warmup if self.warmup else 1.0
        down = self.floor + (1 - self.floor) * max(left, 0) / self.decay if self.decay else 1.0
        return min(up, down, 1.0)
