"""Tells patches of a clip from those of its reconstruction, in space and time.

- Convolutions in space and then in time, as the VAE's; an image is a clip of a frame, which is its own neighbour.
- There is no norm: over time or a batch it would tie together what is judged apart. Smoothness is the penalty's task.
- Strided kernels of 4 overlap evenly, so that no position of a patch is judged by more weights than another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import leaky_relu

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

SLOPE = 0.2


class Stage(nn.Module):
    """Half the rows and columns, one frame of `time`, and more channels."""

    def __init__(self, inside: int, outside: int, *, time: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(inside, outside, 4, stride=2, padding=1)
        self.time = nn.Conv2d(outside, outside, (3, 1), stride=(time, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(b, inside, t, h, w) -> (b, outside, 1 + (t - 1) // time, h // 2, w // 2)."""
        batch, _, frames = x.shape[:3]
        y = leaky_relu(self.space(rearrange(x, "b c t h w -> (b t) c h w")), SLOPE)
        height = y.shape[2]
        y = rearrange(y, "(b t) c h w -> b c t (h w)", b=batch, t=frames)
        y = leaky_relu(self.time(torch.cat([y[:, :, :1], y, y[:, :, -1:]], dim=2)), SLOPE)
        return rearrange(y, "b c t (h w) -> b c t h w", h=height)


class Discriminator(nn.Module):
    """Logits of patches: high for what looks real.

    `squares` (2,) are those that dit_video.flow.adversarial balances by, running averages stored with the weights;
    `pending` (2,) are of the step that is under way.

    Args:
        widths: channels of the stages, each of half the rows and columns of the one before.
        time: frames that each stage makes one of.
    """

    squares: Tensor
    pending: Tensor

    def __init__(self, *, widths: Sequence[int] = (32, 64, 128), time: Sequence[int] = (1, 2, 2)) -> None:
        super().__init__()
        inside = [3, *widths[:-1]]
        self.stages = nn.ModuleList(Stage(a, b, time=t) for a, b, t in zip(inside, widths, time, strict=True))
        self.out = nn.Conv2d(widths[-1], 1, 1)
        self.register_buffer("squares", torch.zeros(2))
        self.register_buffer("pending", torch.zeros(2), persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """Initial values of all parameters and buffers, in place."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.squares)
        nn.init.zeros_(self.pending)

    def blocks(self) -> Iterator[nn.Module]:
        """The units of sharding, recompute and compilation."""
        yield from self.stages

    def forward(self, video: Tensor) -> Tensor:
        """Logits (b, t', h', w') of videos (b, 3, t, h, w) in [-1, 1]."""
        x = video
        for stage in self.stages:
            x = stage(x)
        logits = self.out(rearrange(x, "b c t h w -> b c t (h w)"))
        return rearrange(logits, "b 1 t (h w) -> b t h w", h=x.shape[3]).float().clone()  # FSDP2 wants no view
