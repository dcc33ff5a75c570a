"""Rotary positions in time, row and column (Su et al. 2021, equation 34, split over three axes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange

if TYPE_CHECKING:
    from torch import Tensor


def axis_pairs(pairs: int) -> tuple[int, int, int]:
    """How `pairs` rotated pairs of a head are shared by time, row and column: a quarter for time, the rest in half."""
    side = (pairs * 3 // 4) // 2
    return pairs - 2 * side, side, side


def angles(position: Tensor, *, pairs: int, base: float = 100.0) -> Tensor:
    """Rotation angles (n, pairs) of float positions (n, 3); `base` is the longest wavelength over 2 pi, in patches."""
    parts = []
    for axis, count in enumerate(axis_pairs(pairs)):
        steps = torch.arange(count, device=position.device, dtype=torch.float32) / max(count, 1)
        parts.append(position[:, axis, None].float() * base**-steps)
    return torch.cat(parts, dim=-1)


def rotary(position: Tensor, *, width: int, base: float = 100.0) -> Tensor:
    """Unit complex numbers (n, 1, 1, width/2) for heads of `width`; compute once a pack."""
    angle = angles(position, pairs=width // 2, base=base)[:, None, None]
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate the pairs (2i, 2i + 1) of x (n, two, h, e) by `turn` from `rotary`, as complex numbers in float32."""
    pairs = torch.view_as_complex(rearrange(x.float(), "n two h (e pair) -> n two h e pair", pair=2))
    return rearrange(torch.view_as_real(pairs * turn), "n two h e pair -> n two h (e pair)").to(x.dtype)
