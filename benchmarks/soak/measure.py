"""Figures of many times of something."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median and most; nothing of nothing."""
    return {"p50": round(median(values), digits), "max": round(max(values), digits)} if values else {}
