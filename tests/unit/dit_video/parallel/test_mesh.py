from __future__ import annotations

import sys
from pathlib import Path

import torch.distributed as dist

from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.plan import Plan

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks


def places(rank: int) -> tuple[list[int], list[int], list[int]]:
    """The processes of this rank's sequence group, of its shard of parameters, and of its copies."""
    plan = Plan(replicate=2, shard=1, sequence=2)
    mesh, parameters = build_mesh(plan, "cpu"), parameter_mesh(plan, "cpu")
    assert list(mesh.get_coordinate() or ()) == [rank // 2, 0, rank % 2]
    assert plan.data_rank(rank) == rank // 2
    groups = (mesh["sequence"], parameters["parameters"], parameters["replicate"])
    return tuple(dist.get_process_group_ranks(group.get_group()) for group in groups)  # type: ignore[return-value]


def test_sequence_is_innermost_and_parameters_lie_over_shard_and_sequence() -> None:
    assert run_ranks(places, 4) == [
        ([0, 1], [0, 1], [0, 2]),
        ([0, 1], [0, 1], [1, 3]),
        ([2, 3], [2, 3], [0, 2]),
        ([2, 3], [2, 3], [1, 3]),
    ]


def one_axis(rank: int) -> None:
    """Without copies, FSDP2 gets a mesh of one axis."""
    del rank
    assert parameter_mesh(Plan(replicate=1, shard=2), "cpu").mesh_dim_names == ("parameters",)


def test_without_copies_there_is_one_axis() -> None:
    run_ranks(one_axis, 2)
