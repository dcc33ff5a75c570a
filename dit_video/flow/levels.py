"""At which noise levels the DiT is trained: logit-normal (Esser et al. 2024, equation 19), shifted, clip by clip.

- Most clips have one level for all their frames; some have one for each frame (diffusion forcing, Chen et al. 2024),
  which is what rolling generation needs.
- Given frames have level 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """Levels moved towards noise for shift > 1 (Esser et al. 2024, equation 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The distribution of noise levels.

    Args:
        mean: of the normal before the logistic.
        std: of it.
        shift: towards noise; 1 is none.
        independent: probability that a clip's frames have levels of their own.
    """

    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0
    independent: float = 0.1

    def draw(self, sample: Tensor, given: Tensor, *, generator: Generator) -> Tensor:
        """Levels (f,) of the latent frames of some clips.

        Args:
            sample: (f,) clip of each frame, numbered from 0 without gaps.
            given: (f,) bool, frames that are conditions.
            generator: source of chance, on the CPU.
        """
        clips = int(sample.max()) + 1
        together = torch.randn(clips, generator=generator)
        apart = torch.randn(len(sample), generator=generator)
        alone = torch.rand(clips, generator=generator) < self.independent
        normal = torch.where(alone[sample], apart, together[sample])
        sigma = shifted(torch.sigmoid(self.mean + self.std * normal), self.shift)
        return torch.where(given, torch.zeros_like(sigma), sigma)
