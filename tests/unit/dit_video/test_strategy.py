from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.testing import assert_close

from dit_video.parallel.plan import Plan
from dit_video.strategy import MeshStrategy

sys.path.append(str(Path(__file__).resolve().parents[2] / "fakes"))
from fake.ranks import run_ranks

Batch = SimpleNamespace


class Mean(LightningModule):
    """Its loss is the mean of what its net makes of a batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: Batch) -> Tensor:
        return self.net(batch.x).mean()


def strategy_of(rank: int, plan: Plan) -> MeshStrategy:
    """A strategy over the processes that `run_ranks` has joined."""
    strategy = MeshStrategy(plan)
    strategy.parallel_devices = [torch.device("cpu")] * 4
    world = torch.distributed.get_world_size()
    strategy.cluster_environment = SimpleNamespace(  # type: ignore[assignment]
        local_rank=lambda: 0, node_rank=lambda: 0, world_size=lambda: world, global_rank=lambda: rank
    )
    strategy.lay()
    return strategy


def accumulate(rank: int, plan: Plan) -> list[bool]:
    """Two micro-batches a rank: whether the gradient is that of all of them after each."""
    strategy = strategy_of(rank, plan)
    xs = torch.randn(2, 2, 8, 6, generator=torch.Generator().manual_seed(0))  # rank, micro
    net = nn.Linear(6, 4)
    nn.init.ones_(net.weight)
    strategy.spread(net, precision="32-true")
    strategy._lightning_module = strategy.model = Mean(net)
    expected, found = xs.mean((0, 2)).cumsum(0) / 4, []
    for micro in range(2):
        batch = Batch(x=xs[rank, micro], place=SimpleNamespace(micro=micro, micros=2))
        strategy.training_step(batch).backward()
        gradient = net.weight.grad
        found.append(gradient is not None and torch.allclose(gradient.full_tensor()[0], expected[micro]))  # type: ignore[attr-defined]
    assert_close(net.weight.grad.full_tensor()[0], expected[1])  # type: ignore[union-attr,attr-defined]
    return found


def test_copies_exchange_gradients_at_the_end_of_a_step_and_shards_at_every_micro_batch() -> None:
    assert run_ranks(accumulate, 2, Plan(shard=2)) == [[True, True]] * 2
    assert run_ranks(accumulate, 2, Plan(replicate=2)) == [[False, True]] * 2


def data_of(rank: int) -> dict[str, int]:
    """Which part of the data a rank reads."""
    return strategy_of(rank, Plan(shard=2, sequence=2)).distributed_sampler_kwargs


def test_sequence_ranks_read_the_same_data() -> None:
    found = run_ranks(data_of, 4)
    assert found == [{"num_replicas": 2, "rank": rank // 2} for rank in range(4)]
