"""This rank's part of a tensor that may be spread over ranks; one that is not costs no import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.tensor import DTensor
    from typing_extensions import TypeIs


def is_shard(tensor: Tensor) -> TypeIs[DTensor]:
    """Whether other ranks may hold other parts of it."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, sharing its memory; the tensor itself where it is not spread."""
    return tensor.to_local() if is_shard(tensor) else tensor


@torch.no_grad()
def put(target: Tensor, whole: Tensor) -> None:
    """Copy of a whole tensor what a rank holds of it into `target`, in place."""
    if not is_shard(target):
        target.copy_(whole)
        return
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sizes, starts = compute_local_shape_and_global_offset(target.shape, target.device_mesh, target.placements)
    part = whole[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))]
    target.to_local().copy_(part)
