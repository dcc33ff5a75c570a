"""What a rank holds of a tensor, on two ranks."""

from __future__ import annotations

import torch
import torch.distributed as dist
from fake.ranks import run_ranks
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from dit_video.parallel.local import is_shard, local, put


def test_a_plain_tensor_is_its_own_part() -> None:
    tensor = torch.zeros(3, 2)
    put(tensor, torch.arange(6.0).view(3, 2))
    assert not is_shard(tensor)
    assert local(tensor) is tensor
    assert tensor.flatten().tolist() == [0, 1, 2, 3, 4, 5]


def put_and_take(rank: int) -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    whole = torch.arange(10.0).view(5, 2)  # 3 rows and 2
    spread = distribute_tensor(torch.zeros(5, 2), mesh, [Shard(0)])
    put(spread, whole)
    assert is_shard(spread)
    assert torch.equal(local(spread), whole[:3] if rank == 0 else whole[3:])
    assert local(spread).data_ptr() == spread.to_local().data_ptr()
    copied = distribute_tensor(torch.zeros(5, 2), mesh, [Replicate()])
    put(copied, whole)
    assert torch.equal(local(copied), whole)


def test_a_rank_takes_its_part_of_a_whole() -> None:
    run_ranks(put_and_take, 2)
