"""Which frames of a latent clip are given: patterns drawn at packing time, since one of them changes the token count.

- none: nothing. first: the first latent frame. prefix: the first 1 to t - 1 latent frames.
- suffix: the clip up to latent frame m, and its frames from there on, encoded as a clip of their own, given. A causal
  encoder would leak the frames before them. Latent frame m is then there twice: end of the one, lead of the other.
- Images, and clips of one latent frame, have nothing to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dit_video.errors import ConfigError
from dit_video.seeds import uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATTERNS = ("none", "first", "prefix", "suffix")
NONE, FIRST, PREFIX, SUFFIX = range(4)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Weights of the patterns, in the order of PATTERNS, as rising sums up to 1."""

    levels: tuple[float, ...]
    seed: int

    def draw(self, stream: int, ordinals: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pattern numbers and a second uniform number for samples of a stream."""
        first = uniform(self.seed, "given", stream, ordinals)
        pattern = np.minimum(np.searchsorted(self.levels, first, side="right"), len(PATTERNS) - 1)
        return pattern, uniform(self.seed, "given", stream, ordinals, draw=1)


def conditions(weights: Mapping[str, float], *, seed: int) -> Conditions:
    """Conditions by their weights; ConfigError for names or weights that make no sense."""
    unknown = set(weights) - set(PATTERNS)
    if unknown or not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
        raise ConfigError(
            f"datamodules.conditions must give weights to some of {', '.join(PATTERNS)}, got {dict(weights)}"
        )
    total = np.cumsum([float(weights.get(name, 0.0)) for name in PATTERNS])
    return Conditions(levels=tuple((total / total[-1]).tolist()), seed=seed)


def settle(
    pattern: NDArray[np.int64],
    level: NDArray[np.float64],
    *,
    frames: NDArray[np.int64],
    tails: NDArray[np.int64],
    tail_counts: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pattern that samples of `frames` latent frames really have, and the cut: p frames given for a prefix, tail m.

    `tails` (n, k) holds the starts of a sample's `tail_counts` tails.
    """
    suffix = pattern == SUFFIX
    settled = np.where((frames < 2) | (suffix & (tail_counts == 0)), NONE, pattern)
    tail = (level * tail_counts).astype(np.int64)
    starts = tails[np.arange(len(tails)), np.minimum(tail, max(tails.shape[1] - 1, 0))] if tails.size else tail
    prefix = 1 + (level * (frames - 1)).astype(np.int64)
    return settled, np.choose(settled, [0, 1, prefix, starts])


def frame_counts(
    pattern: NDArray[np.int64], cut: NDArray[np.int64], frames: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Latent frames of samples in all, and how many of them are given."""
    suffix = pattern == SUFFIX
    return frames + suffix, np.where(suffix, frames - cut, cut)
