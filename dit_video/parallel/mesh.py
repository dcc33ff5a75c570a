"""The processes of a plan as device meshes.

Two meshes over the same processes: by the plan's three axes, and by (replicate, parameters), the one that FSDP2 takes,
where `parameters` is shard and sequence together. Without copies the second has one axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from dit_video.parallel.plan import Plan

AXES = ("replicate", "shard", "sequence")
PARAMETERS = "parameters"


def build_mesh(plan: Plan, device_type: str) -> DeviceMesh:
    """The processes of a filled plan by its axes."""
    return arranged(device_type, (plan.copies, plan.shard, plan.sequence), AXES)


def parameter_mesh(plan: Plan, device_type: str) -> DeviceMesh:
    """The processes over which parameters are sharded, and copied where the plan says so."""
    if plan.copies == 1:
        return arranged(device_type, (plan.parameter_shards,), (PARAMETERS,))
    return arranged(device_type, (plan.copies, plan.parameter_shards), (AXES[0], PARAMETERS))


def arranged(device_type: str, sizes: tuple[int, ...], names: tuple[str, ...]) -> DeviceMesh:
    """Processes 0, 1, ... as an array of `sizes`, the last axis fastest."""
    from torch.distributed.device_mesh import DeviceMesh

    ranks = torch.arange(int(torch.tensor(sizes).prod())).reshape(sizes)
    return DeviceMesh(device_type, ranks, mesh_dim_names=names)
