"""Figures of many clips as one: the mean, and how far other clips of this kind would have moved it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dit_video.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAWS = 2000
SHARE = 0.95


@dataclass(frozen=True)
class Overall:
    """Mean over `count` clips, each once, and the ends of its confidence interval; none of a single clip."""

    mean: float
    low: float | None
    high: float | None
    count: int


def overall(values: Sequence[float | None]) -> Overall | None:
    """The mean of what is there, and its 95 % bootstrap interval over clips (Efron 1979, percentiles); None of none."""
    known = np.asarray([value for value in values if value is not None], np.float64)
    if not len(known):
        return None
    mean = float(known.mean())
    if len(known) < 2 or not math.isfinite(mean):
        return Overall(mean, None, None, len(known))
    draws = rng(0, "bootstrap").integers(len(known), size=(DRAWS, len(known)))
    low, high = np.quantile(known[draws].mean(axis=1), [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Overall(mean, float(low), float(high), len(known))
