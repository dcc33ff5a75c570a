"""What enters the transformer beside the patches: noise levels and the place in the frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.batch import Layout


def fourier(x: Tensor, *, width: int, longest: float = 1000.0) -> Tensor:
    """Sines and cosines (..., width) of scalars x (...), wavelengths from 1 to `longest` in geometric steps."""
    steps = torch.linspace(0, 1, width // 2, device=x.device)
    phase = 2 * math.pi * x[..., None].float() * longest**-steps
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


class LevelEmbed(nn.Module):
    """Noise levels (f,) in [0, 1] to signals (f, d)."""

    def __init__(self, width: int, *, features: int = 128) -> None:
        super().__init__()
        self.features = features
        self.net = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, sigma: Tensor) -> Tensor:
        """Signals (f, d) of levels (f,)."""
        return self.net(fourier(sigma * 100, width=self.features).to(self.net[0].weight.dtype))


class PlaceEmbed(nn.Module):
    """Where in its frame a token lies, from edge to edge, to be added to it: rotary positions alone see no borders."""

    def __init__(self, width: int, *, features: int = 16) -> None:
        super().__init__()
        self.features = features
        self.net = nn.Linear(4 * features, width)

    def forward(self, layout: Layout) -> Tensor:
        """What to add to the tokens, (n, d)."""
        owner = layout.sample[layout.frame]
        here = layout.position[:, 1:] + 0.5
        edges = torch.cat([here / layout.extent[owner], here / 8], dim=-1)
        waves = fourier(edges, width=self.features, longest=16.0).flatten(1)
        return self.net(waves.to(self.net.weight.dtype))
