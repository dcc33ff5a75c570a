"""The exponential moving average of the weights, counted in samples and sharded as the weights are.

- The half-life is `half_life` samples, or `ramp` of the samples seen while that is less (Karras et al. 2022,
  2206.00364), so that the average forgets the initialisation at any length of run.
- Averages lie where the parameters lie: a shard averages its shard, nothing is gathered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dit_video.parallel.local import local


def decay(*, samples: int, samples_seen: int, half_life: int, ramp: float) -> float:
    """Weight of the old average after `samples` more samples, `samples_seen` with them."""
    life = min(float(half_life), ramp * samples_seen)
    return 0.5 ** (samples / life) if life > 0 else 0.0


class Ema:
    """Averages of named parameters, float32 or wider; they start as copies."""

    def __init__(self, named: Mapping[str, nn.Parameter], *, half_life: int, ramp: float = 0.05) -> None:
        self.half_life, self.ramp = half_life, ramp
        self.parameters = dict(named)
        self.averages = {name: _wide(parameter) for name, parameter in named.items()}

    @torch.no_grad()
    def update(self, *, samples: int, samples_seen: int) -> None:
        """Move the averages towards the parameters by one step of `samples` samples."""
        keep = decay(samples=samples, samples_seen=samples_seen, half_life=self.half_life, ramp=self.ramp)
        averages = [local(average) for average in self.averages.values()]
        values = [local(p.detach()).to(a.dtype) for p, a in zip(self.parameters.values(), averages, strict=True)]
        if averages:
            torch._foreach_lerp_(averages, values, 1 - keep)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within this context the parameters hold the averages; afterwards their own bits again."""
        with torch.no_grad():
            raw = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        try:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(self.averages[name])
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(raw[name])


def _wide(parameter: nn.Parameter) -> Tensor:
    return parameter.detach().clone().to(torch.promote_types(parameter.dtype, torch.float32))
