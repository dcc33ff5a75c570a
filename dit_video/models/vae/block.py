"""Causal parts: convolutions in space, and in time over the past alone, with the state that streaming needs.

- Kernels are factorised, 1x3x3 then 3x1x1 (R(2+1)D, Tran et al. 2018): a third of the cost of 3x3x3.
- Every norm is per position over channels: a norm over time would let a frame see the ones after it.
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


class ChannelNorm(nn.Module):
    """RMS norm over channels, position by position (b, c, t, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x (b, c, t, h, w) with unit mean square over c."""
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-6) * self.scale[:, None, None, None]


class SpaceConv(nn.Module):
    """3x3 convolution of each frame alone, edges replicated."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, inside, t, h, w) -> (b, outside, t, h, w)."""
        frames = self.conv(rearrange(x, "b c t h w -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])


class TimeConv(nn.Module):
    """Convolution over the present and the past frames; `stride` frames make one, the first frame one alone."""

    def __init__(self, inside: int, outside: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.past = kernel - 1
        self.conv = nn.Conv2d(inside, outside, (kernel, 1), stride=(stride, 1))

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """(b, inside, t, h, w) -> (b, outside, t', h, w); `memory` has the frames before."""
        if self.past:
            before = None if memory is None else memory.get(id(self))
            if before is None:
                before = x[:, :, :1].expand(-1, -1, self.past, -1, -1)
            x = torch.cat([before, x], dim=2)
            if memory is not None:
                memory[id(self)] = x[:, :, -self.past :] if self.conv.stride[0] == 1 else x[:, :, x.shape[2] :]
        y = self.conv(rearrange(x, "b c t h w -> b c t (h w)"))
        return rearrange(y, "b c t (h w) -> b c t h w", h=x.shape[3])


class ResBlock(nn.Module):
    """Two convolutions around a shortcut: one in space, one in time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_space, self.space = ChannelNorm(width), SpaceConv(width, width)
        self.norm_time, self.time = ChannelNorm(width), TimeConv(width, width)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """(b, c, t, h, w) -> the same."""
        y = self.space(functional.silu(self.norm_space(x)))
        return x + self.time(functional.silu(self.norm_time(y)), memory)


class Down(nn.Module):
    """Fewer, wider positions: `space` x `space` pixels and `time` frames become one; the first frame stands alone."""

    def __init__(self, inside: int, outside: int, *, time: int, space: int) -> None:
        super().__init__()
        self.space = space
        self.conv = TimeConv(inside * space**2, outside, kernel=time, stride=time)

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        """(b, inside, 1 + k*time, h, w) -> (b, outside, 1 + k, h/space, w/space)."""
        x = rearrange(x, "b c t (h p) (w q) -> b (c p q) t h w", p=self.space, q=self.space)
        return self.conv(x, memory)


class Up(nn.Module):
    """The reverse of Down: the first frame of a clip gives one frame, every other `time`."""

    def __init__(self, inside: int, outside: int, *, time: int, space: int) -> None:
        super().__init__()
        self.time, self.space = time, space
        self.conv = TimeConv(inside, outside * time * space**2, kernel=1)

    def forward(self, x: Tensor, *, starts: bool) -> Tensor:
        """`starts` tells whether the first frame is the first of the clip (else it is the next chunk of a stream)."""
        x = rearrange(
            self.conv(x), "b (c r p q) t h w -> b c (t r) (h p) (w q)", r=self.time, p=self.space, q=self.space
        )
        return x[:, :, self.time - 1 :] if starts else x
