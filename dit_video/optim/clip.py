"""Gradient clipping by the total norm, in place and without a look at the device's values.

Of sharded gradients each rank adds up its rows, and one number travels: an all-reduce of 4 bytes in each shard group.
(torch's own makes one of every gradient, since it stacks their norms.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dit_video.optim.exchange import Shards, shards
from dit_video.parallel.local import local


@torch.no_grad()
def clip(parameters: Iterable[nn.Parameter], *, limit: float) -> Tensor:
    """Scale all gradients so that their total norm is at most `limit`; returns the norm before."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = total_norm(gradients)
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    if gradients:
        torch._foreach_mul_([local(gradient) for gradient in gradients], scale)
    return norm


@torch.no_grad()
def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """The norm () of all numbers of tensors, whichever ranks hold them."""
    alike: dict[Shards, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        alike[shards(tensor)].append(local(tensor))
    squares = []
    for among, members in alike.items():
        square = torch.stack(torch._foreach_norm(members)).square().sum()
        if among.ranks > 1:
            dist.all_reduce(square, group=among.group)
        squares.append(square)
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())
