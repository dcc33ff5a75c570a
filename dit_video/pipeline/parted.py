"""A DiT whose tokens are parted over processes, to be called with whole packs as any other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from dit_video.ops.layout import padding
from dit_video.parallel.sequence import stretch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from dit_video.batch import Layout
    from dit_video.models.dit import DiT


class Parted:
    """`dit` attends over the processes of `group`; each of them calls this with the same pack, and gets all of it."""

    def __init__(self, dit: DiT, group: dist.ProcessGroup) -> None:
        self.dit, self.group = dit, group
        self.patch = dit.patch

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of the model."""
        return self.dit.parameters()

    def __call__(self, noisy: Tensor, sigma: Tensor, layout: Layout, context: Tensor) -> Tensor:
        """As the DiT, for any number of tokens."""
        tokens, size = len(noisy), dist.get_world_size(self.group)
        if tokens % size:
            noisy, sigma, layout, context = padded(noisy, sigma, layout, context, by=-tokens % size)
        part = {"rank": dist.get_rank(self.group), "size": size}
        own = replace(layout, position=stretch(layout.position, **part), frame=stretch(layout.frame, **part))
        velocity = self.dit(stretch(noisy, **part), sigma, own, context).contiguous()
        parts = [torch.empty_like(velocity) for _ in range(size)]
        dist.all_gather(parts, velocity, group=self.group)
        return torch.cat(parts)[:tokens]


def padded(
    noisy: Tensor, sigma: Tensor, layout: Layout, context: Tensor, *, by: int
) -> tuple[Tensor, Tensor, Layout, Tensor]:
    """The same with a last clip of `by` tokens that are given."""
    more, device = padding(by, noisy.shape[1]), noisy.device
    longer = replace(
        layout,
        position=torch.cat([layout.position, more.position.to(device)]),
        frame=torch.cat([layout.frame, more.frame.to(device) + len(layout.sample)]),
        sample=torch.cat([layout.sample, layout.sample.new_tensor([len(layout.lengths)])]),
        given=torch.cat([layout.given, more.given.to(device)]),
        lead=torch.cat([layout.lead, more.lead.to(device)]),
        extent=torch.cat([layout.extent, layout.extent.new_tensor([more.extent])]),
        lengths=(*layout.lengths, by),
    )
    return (
        torch.cat([noisy, noisy.new_zeros(by, noisy.shape[1])]),
        torch.cat([sigma, sigma.new_zeros(1)]),
        longer,
        torch.cat([context, torch.zeros_like(context[:1])]),
    )
