from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video.batch import ClipBatch, Place
from dit_video.callbacks.consistent import Consistent, InconsistentError, compare_places, stand, sums
from dit_video.errors import ConfigError, UserError
from dit_video.optim.adamw import AdamW
from dit_video.parallel.plan import Plan

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

FOUR = Plan(replicate=1, shard=2, sequence=2)


def batch(pack: int, **about: Any) -> ClipBatch:
    place = Place(step=8, samples_seen=72, micro=0, micros=2, packs=((0, pack),), step_weight=2.5)
    video = torch.zeros(1, 3, 1, 4, 4)
    place = replace(place, **about)
    return ClipBatch(video=video, weight=torch.ones(1), captions=("",), keys=("",), fps=8.0, place=place)


def test_ranks_that_stand_as_they_should_pass() -> None:
    compare_places([stand(batch(pack)) for pack in (0, 0, 1, 1)], FOUR)
    compare_places([stand(batch(pack)) for pack in (0, 1, 2, 3)], Plan(replicate=4))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"step": 9}, "step 9 on rank 2, step 8 on ranks 0, 1, 3"),
        ({"samples_seen": 80}, "samples_seen 80 on rank 2, samples_seen 72 on"),
        ({"micros": 3}, "micros 3 on rank 2"),
        ({"step_weight": 2.75}, "step_weight 2.75 on rank 2, step_weight 2.5 on"),
        ({"packs": ((0, 7),)}, "step 9: rank 3 has other packs than rank 2 of its sequence group"),
    ],
)
def test_one_that_does_not_is_named(about: dict[str, Any], said: str) -> None:
    rows = [stand(batch(0)), stand(batch(0)), stand(batch(1, **about)), stand(batch(1))]
    with pytest.raises(InconsistentError, match=re.escape(said)):
        compare_places(rows, FOUR)


def test_the_same_packs_twice_are_named() -> None:
    with pytest.raises(InconsistentError, match=r"step 9: ranks 0 and 2 have the same packs"):
        compare_places([stand(batch(pack)) for pack in (0, 1, 0, 2)], Plan(replicate=4))


def test_other_sizes_under_one_name_are_noticed() -> None:
    large = replace(batch(0), video=torch.zeros(1, 3, 1, 8, 8))
    with pytest.raises(InconsistentError, match="other packs"):
        compare_places([stand(batch(0)), stand(large)], Plan(replicate=1, sequence=2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_any_flipped_bit_changes_the_sum(dtype: torch.dtype) -> None:
    tensor = torch.randn(7, 5).to(dtype)
    before, raw = sums([tensor]), tensor.view(torch.uint8)
    for bit in range(8) if dtype is not torch.bool else [0]:
        raw.flatten()[3 * raw.element_size()] ^= 1 << bit
        assert sums([tensor]) != before
        raw.flatten()[3 * raw.element_size()] ^= 1 << bit
    assert sums([tensor, tensor[1:]])[0] == before[0]


class Task(nn.Module):
    """A layer with a buffer, copied or sharded."""

    def __init__(self, plan: Plan, *, sharded: bool) -> None:
        from torch.distributed.fsdp import fully_shard

        from dit_video.parallel.mesh import parameter_mesh

        super().__init__()
        torch.manual_seed(0)
        self.net, self.plan = nn.Linear(4, 4), plan
        self.register_buffer("mean", torch.ones(3))
        if sharded:
            fully_shard(self.net, mesh=parameter_mesh(plan, "cpu"))


def differ(rank: int, plan: Plan, sharded: bool, spoil: str) -> str:
    """What is said of a task of which rank 1 has one other bit."""
    task = Task(plan, sharded=sharded)
    optimizer = AdamW(task.net.named_parameters(), lr=1.0)
    trainer: Any = SimpleNamespace(callbacks=[], optimizers=[optimizer], world_size=2)
    check = Consistent(every=2)
    check.confirm(trainer, task, step=2)  # type: ignore[arg-type]
    found: dict[str, Any] = {
        "weight": task.net.weight.data,
        "mean": task.mean,
        "exp_avg": optimizer.state[task.net.weight]["exp_avg"],
    }
    if rank == 1:
        local = getattr(found[spoil], "to_local", lambda: found[spoil])()
        local.view(torch.int32).flatten()[:1].bitwise_xor_(1)
    try:
        check.confirm(trainer, task, step=4)  # type: ignore[arg-type]
    except InconsistentError as error:
        return str(error)
    return ""


def test_a_flipped_bit_on_one_rank_is_noticed_by_all() -> None:
    for spoil, named in {"weight": "net.weight", "mean": "mean", "exp_avg": "exp_avg of parameter 0"}.items():
        said = run_ranks(differ, 2, Plan(replicate=2), spoil == "weight", spoil)
        assert said[0] == said[1]
        assert said[0].startswith(f"step 4: {named}")
        assert "not the same on rank 1 and rank 0" in said[0]


def test_shards_of_one_copy_may_differ() -> None:
    assert run_ranks(differ, 2, Plan(replicate=1, shard=2), True, "weight") == ["", ""]


def test_it_is_no_users_mistake() -> None:
    assert not issubclass(InconsistentError, UserError)
    with pytest.raises(ConfigError, match=r"callbacks\.consistent\.every"):
        Consistent(every=-1)
