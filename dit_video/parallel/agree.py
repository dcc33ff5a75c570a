"""Small numbers between all processes of a run: flags at a step's boundary, places in the order of data, hashes.

- They go over a gloo group of their own, on the CPU: no device is waited for, and the collectives of training, in
  flight or in another order, are not in the way.
- Every process calls them in the same order, from its main thread. Alone, a process agrees with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

_groups: list[tuple[dist.ProcessGroup, dist.ProcessGroup]] = []
"""The default group and its control group: another default group has another."""


def alone() -> bool:
    """Whether there is no other process."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def fresh_group(*, timeout: timedelta | None = None) -> dist.ProcessGroup | None:
    """A gloo group of all processes for the caller alone, such as a thread; None where there is no other process."""
    return None if alone() else dist.new_group(backend="gloo", timeout=timeout)


def control() -> dist.ProcessGroup | None:
    """The group of this module, made at its first use, which must be the same moment on all processes."""
    if alone():
        return None
    world = dist.group.WORLD
    assert world is not None
    if not _groups or _groups[0][0] is not world:
        group = fresh_group()
        assert group is not None
        _groups[:] = [(world, group)]
    return _groups[0][1]


def highest(values: Sequence[int]) -> list[int]:
    """The largest of each value over all processes."""
    if (group := control()) is None:
        return list(values)
    tensor = torch.tensor(list(values), dtype=torch.int64)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=group)
    return [int(value) for value in tensor.tolist()]


def gathered(values: Sequence[int]) -> list[list[int]]:
    """The values of every process, a row each."""
    if (group := control()) is None:
        return [list(values)]
    own = torch.tensor(list(values), dtype=torch.int64)
    rows = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, own, group=group)
    return [[int(value) for value in row.tolist()] for row in rows]
