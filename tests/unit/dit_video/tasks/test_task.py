"""Models are made without values, checked against the plan, spread, and given the same values whatever the plan."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from dit_video.errors import ConfigError
from dit_video.models.dit import DiT
from dit_video.models.text.encoder import TextEncoder
from dit_video.optim.adamw import AdamW
from dit_video.parallel.plan import Plan
from dit_video.strategy import MeshStrategy
from dit_video.tasks.dit import DiTTask

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

DIT = partial(DiT, channels=2, patch=2, width=32, depth=2, heads=4, text_width=16)
TEXT = partial(TextEncoder, vocabulary=300, length=4, width=16, depth=1, heads=2)


def task_of(plan: Plan, *, strategy: object = None, length: int = 64) -> DiTTask:
    """A DiT's task that stands before its first step."""
    task = DiTTask(dit=DIT, text=TEXT, optim=partial(AdamW, lr=1e-3))
    task.plan = plan
    data = SimpleNamespace(texts=lambda: ["a red ball"] * 4, length=length)
    task._trainer = SimpleNamespace(
        datamodule=data, strategy=strategy, precision="32-true", global_rank=0, world_size=1
    )
    return task


def made(task: DiTTask) -> dict[str, Tensor]:
    """All its values, whole."""
    torch.manual_seed(5)
    task.configure_model()
    state = task.state_dict()
    return {name: x.full_tensor() if hasattr(x, "full_tensor") else x for name, x in state.items()}


def spread(rank: int, plan: Plan) -> dict[str, Tensor]:
    """The values of a task under a plan, gathered."""
    strategy = MeshStrategy(plan)
    strategy.parallel_devices = [torch.device("cpu")] * 4
    strategy.cluster_environment = SimpleNamespace(  # type: ignore[assignment]
        local_rank=lambda: 0, node_rank=lambda: 0, world_size=lambda: 4, global_rank=lambda: rank
    )
    strategy.lay()
    found = made(task_of(plan, strategy=strategy))
    return {name: value.clone() for name, value in found.items()}


def test_the_values_at_the_start_are_those_of_one_process() -> None:
    alone = made(task_of(Plan(replicate=1)))
    for plan in (Plan(replicate=2, shard=2), Plan(replicate=1, shard=2, sequence=2)):
        for found in run_ranks(spread, 4, plan):
            assert set(found) == set(alone)
            for name, value in alone.items():
                assert torch.equal(found[name], value), name


def test_models_are_built_once() -> None:
    task = task_of(Plan(replicate=1))
    task.configure_model()
    first = task.dit
    task.configure_model()
    assert task.dit is first
    assert not any(parameter.is_meta for parameter in task.parameters())


@pytest.mark.parametrize(("plan", "length", "text"), [(3, 63, "4 heads"), (4, 63, "63 tokens")])
def test_a_plan_that_does_not_fit_is_refused_before_anything_is_allocated(plan: int, length: int, text: str) -> None:
    task = task_of(Plan(replicate=1, sequence=plan), length=length)
    with pytest.raises(ConfigError, match=text):
        task.configure_model()
    assert all(parameter.is_meta for parameter in task.parameters())


def test_alone_the_blocks_are_recomputed_as_the_plan_says() -> None:
    task = task_of(Plan(replicate=1, recompute="full"))
    task.configure_model()
    assert all(isinstance(block.forward, partial) for block in task.dit.blocks())
