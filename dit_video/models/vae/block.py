"""Causal parts: convolutions in space, and in time over the past alone, with the state that streaming needs.

- Everything between pixels and latents is (b, t, h, w, c) in memory: convolutions read it as channels-last without a
  copy, norms and products of matrices have their channels side by side. On a CPU (64 channels, 10 frames of 64x64,
  forward and backward, one thread) a 3x3 convolution takes 75 ms so, 121 ms with the copies that (b, c, t, h, w) needs;
  a LayerNorm 8 ms, where an RMS norm, five passes there, takes 40.
- A block convolves each channel alone, 1x3x3 then 3x1x1, and joins channels by two matrices: 6 c^2 multiplications a
  position, where factorised dense kernels (R(2+1)D, Tran et al. 2018) have 12 c^2 and 3x3x3 has 27 c^2.
- Every norm is per position over channels: a norm over time would let a frame see the ones after it, one over space
  would let a tile differ from the frame it is cut from.
- `Memory` holds the last inputs of each time convolution by name; whole clips run without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    Memory = dict[int, Tensor]


class SpaceConv(nn.Module):
    """3x3 convolution of each frame alone, zeros around it; `groups` as in nn.Conv2d."""

    def __init__(self, inside: int, outside: int, *, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, h, w, inside) -> (b, t, h, w, outside)."""
        frames = self.conv(rearrange(x, "b t h w c -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b t h w c", b=x.shape[0])


class TimeConv(nn.Module):
    """Each channel's convolution over the present and two frames before it; before the first stands the first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.past = 2
        self.conv = nn.Conv2d(width, width, (self.past + 1, 1), groups=width)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """(b, t, h, w, c) -> the same; `memory` has the frames before."""
        before = None if memory is None else memory.get(id(self))
        if before is None:
            before = x[:, :1].expand(-1, self.past, -1, -1, -1)
        x = torch.cat([before, x], dim=1)
        if memory is not None:
            memory[id(self)] = x[:, -self.past :].clone()  # a view would keep all frames
        y = self.conv(rearrange(x, "b t h w c -> b c t (h w)"))
        return rearrange(y, "b c t (h w) -> b t h w c", h=x.shape[2])


class ResBlock(nn.Module):
    """Around a shortcut: each channel alone over space and time, then all channels of each position.

    (ConvNeXt, Liu et al. 2022, with time.)
    """

    def __init__(self, width: int, *, expand: int = 3) -> None:
        super().__init__()
        self.space, self.time = SpaceConv(width, width, groups=width), TimeConv(width)
        self.norm = nn.LayerNorm(width)
        self.wider, self.narrower = nn.Linear(width, expand * width), nn.Linear(expand * width, width)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """(b, t, h, w, c) -> the same."""
        y = self.norm(self.time(self.space(x), memory))
        return x + self.narrower(functional.silu(self.wider(y)))


class Down(nn.Module):
    """Fewer, wider positions: `space` x `space` pixels and `time` frames become one; the first frame stands alone."""

    def __init__(self, inside: int, outside: int, *, time: int, space: int) -> None:
        super().__init__()
        self.time, self.space = time, space
        self.linear = nn.Linear(inside * time * space**2, outside)

    def forward(self, x: Tensor, *, starts: bool = True) -> Tensor:
        """(b, 1 + k*time, h, w, inside) -> (b, 1 + k, h/space, w/space, outside).

        `starts` tells whether the first frame is the first of the clip (else it is the next chunk of a stream, of
        k*time frames).
        """
        if starts:
            x = torch.cat([x[:, :1].expand(-1, self.time - 1, -1, -1, -1), x], dim=1)
        parts = {"r": self.time, "p": self.space, "q": self.space}
        return self.linear(rearrange(x, "b (t r) (h p) (w q) c -> b t h w (r p q c)", **parts))


class Up(nn.Module):
    """The reverse of Down: the first frame of a clip gives one frame, every other `time`."""

    def __init__(self, inside: int, outside: int, *, time: int, space: int) -> None:
        super().__init__()
        self.time, self.space = time, space
        self.linear = nn.Linear(inside, outside * time * space**2)

    def forward(self, x: Tensor, *, starts: bool = True) -> Tensor:
        """`starts` as in Down."""
        parts = {"r": self.time, "p": self.space, "q": self.space}
        x = rearrange(self.linear(x), "b t h w (r p q c) -> b (t r) (h p) (w q) c", **parts)
        return x[:, self.time - 1 :] if starts else x
