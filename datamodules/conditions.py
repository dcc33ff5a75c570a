"""Which frames of a latent clip are given: patterns drawn at packing time, since one of them changes the token count.

- none: nothing. first: the first latent frame. prefix: the first 1 to t - 1 latent frames.
- suffix: the clip up to latent frame m, and its frames from there on, encoded as a clip of their own, given. A causal
  encoder would leak the frames before them. Latent frame m is then there twice: end of the one, lead of the other.
- Images, and clips of one latent frame, have nothing to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datamodules.order import uniform
from dit_video.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATTERNS = ("none", "first", "prefix", "suffix")


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


def settle(pattern: int, level: float, *, frames: int, tails: Sequence[int], image: bool) -> tuple[str, int]:
    """The pattern a sample really has and its cut: p frames given for a prefix, tail m for a suffix."""
    name = PATTERNS[pattern]
    if image or frames < 2 or (name == "suffix" and not tails):
        return "none", 0
    if name == "first":
        return name, 1
    if name == "prefix":
        return name, 1 + int(level * (frames - 1))
    if name == "suffix":
        return name, int(tails[int(level * len(tails))])
    return name, 0


def frame_counts(name: str, cut: int, frames: int) -> tuple[int, int]:
    """Latent frames of a sample in all, and how many of them are given."""
    if name == "suffix":
        return frames + 1, frames - cut
    return frames, cut
