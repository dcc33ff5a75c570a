"""Gradient clipping by the total norm, in place and without a look at the device's values."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip(parameters: Iterable[nn.Parameter], *, limit: float) -> Tensor:
    """Scale all gradients so that their total norm is at most `limit`; returns the norm before."""
    return nn.utils.clip_grad_norm_(list(parameters), limit)
