"""Sequence parallelism in the manner of Ulysses (Jacobs et al. 2023, 2309.14509), from outside the model.

- The processes of a sequence group hold equal stretches of a pack's tokens. What works token by token runs as it is.
- Around attention, an all-to-all trades tokens for heads: every process attends over the whole pack with its share of
  the heads, and another one trades back. Four exchanges a block and direction: q, k, v in, the output out.
- Keys of a text are whole on every process, so tokens attend to their own clips' texts where they are: nothing is sent.
- Each process counts the loss of its own tokens, so gradients are sums over the group, as over everything else.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from einops import rearrange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from dit_video.batch import PackBatch
    from dit_video.ops.attention import Attention


class Trade(torch.autograd.Function):
    """An all-to-all of equal parts along the first axis; its gradient takes the same way back."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, group: dist.ProcessGroup) -> Tensor:  # type: ignore[override]
        """parts (g, ...), one for each process of the group; returns the parts they have sent here."""
        ctx.group = group
        received = torch.empty_like(parts, memory_format=torch.contiguous_format)
        dist.all_to_all_single(received, parts.contiguous(), group=group)
        return received

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """The gradient of what was received goes to who sent it."""
        return Trade.apply(gradient.contiguous(), ctx.group), None


def to_heads(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """All tokens of a part of the heads (n, h/g, e) for a stretch of the tokens of all heads (n/g, h, e)."""
    size = dist.get_world_size(group)
    parts = rearrange(x, "n (g h) e -> g n h e", g=size)
    return rearrange(Trade.apply(parts, group), "g n h e -> (g n) h e")


def to_tokens(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The reverse of `to_heads`."""
    size = dist.get_world_size(group)
    parts = rearrange(x, "(g n) h e -> g n h e", g=size)
    return rearrange(Trade.apply(parts, group), "g n h e -> n (g h) e")


class Ulysses:
    """An attention over a group of processes, each of which has a stretch of the queries."""

    def __init__(self, attend: Attention, group: dist.ProcessGroup) -> None:
        self.attend, self.group = attend, group

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
        """As `Attention`, with lengths of the whole and q (n/g, h, e); k and v are a stretch like q, or whole.

        What is traded is in the precision of the values: under autocast on a GPU a norm gives float32.
        """
        q, k = q.to(v.dtype), k.to(v.dtype)
        if len(k) == sum(k_lengths):
            return self.to_whole(q, k, v, q_lengths, k_lengths)
        q, k, v = (to_heads(x, self.group) for x in (q, k, v))
        return to_tokens(self.attend(q, k, v, q_lengths, k_lengths), self.group)

    def to_whole(self, q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
        """Attention from this process's tokens to the keys of their clips."""
        own = overlaps(q_lengths, rank=dist.get_rank(self.group), size=dist.get_world_size(self.group))
        clips = [clip for clip, count in enumerate(own) if count]
        first, last = clips[0], clips[-1] + 1
        keys = slice(sum(k_lengths[:first]), sum(k_lengths[:last]))
        return self.attend(q, k[keys], v[keys], own[first:last], k_lengths[first:last])


def overlaps(lengths: Sequence[int], *, rank: int, size: int) -> list[int]:
    """How many tokens of each clip lie in part `rank` of `size` equal parts of the pack."""
    ends = list(accumulate(lengths))
    begin, end = (at * ends[-1] // size for at in (rank, rank + 1))
    return [max(min(last, end) - max(last - n, begin), 0) for last, n in zip(ends, lengths, strict=True)]


def attending(model: nn.Module) -> list[Any]:
    """The modules of a model to which an attention callable (`attend`) was handed in."""
    return [module for module in model.modules() if hasattr(module, "attend")]


def heads(model: nn.Module) -> list[int]:
    """The number of heads of every attention that can be parted."""
    return [module.heads for module in attending(model)]


def part_attention(model: nn.Module, group: dist.ProcessGroup) -> None:
    """Wrap every attention callable of a model; in place."""
    for module in attending(model):
        module.attend = Ulysses(module.attend, group)


def stretch(x: Tensor, *, rank: int, size: int) -> Tensor:
    """Part `rank` of `size` equal parts of a tensor (n, ...)."""
    return x[rank * len(x) // size : (rank + 1) * len(x) // size]


def part_batch(batch: PackBatch, *, rank: int, size: int) -> PackBatch:
    """The stretch of a pack that is process `rank`'s of a sequence group of `size`."""
    if size == 1:
        return batch
    layout = replace(
        batch.layout,
        position=stretch(batch.layout.position, rank=rank, size=size),
        frame=stretch(batch.layout.frame, rank=rank, size=size),
    )
    data, weight, pack = (stretch(x, rank=rank, size=size) for x in (batch.data, batch.weight, batch.pack))
    return replace(batch, layout=layout, data=data, weight=weight, pack=pack)
