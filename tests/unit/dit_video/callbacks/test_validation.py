from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video.batch import ClipBatch, Place
from dit_video.callbacks.ema import Ema
from dit_video.callbacks.validation import Validation, named
from dit_video.errors import ConfigError
from dit_video.parallel.mesh import parameter_mesh
from dit_video.parallel.plan import Plan
from dit_video.seeds import generator

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks


class Held:
    """Three batches of unequal weight."""

    def validation(self, n: int) -> list[ClipBatch]:
        place = Place(step=0, samples_seen=0, micro=0, micros=1, packs=((-1, 0),), step_weight=1.0)
        made = []
        for number in range(min(n, 3)):
            video = torch.randn(1 + number, 3, 1, 2, 2, generator=generator(0, "held", number))
            weight, names = torch.ones(1 + number), ("",) * (1 + number)
            about: dict[str, Any] = {"captions": names, "keys": names, "fps": 8.0}
            made.append(ClipBatch(video=video, weight=weight, place=replace(place, packs=((-1, number),)), **about))
        return made


class Task(nn.Module):
    """A layer with dropout and a buffer that every forward moves; sharded as the plan says."""

    def __init__(self, plan: Plan, *, sharded: bool) -> None:
        from torch.distributed.fsdp import fully_shard

        super().__init__()
        torch.manual_seed(0)
        self.net, self.drop = nn.Linear(12, 12), nn.Dropout(0.5)
        self.register_buffer("mean", torch.zeros(()))
        self.plan, self.device = plan, torch.device("cpu")
        if sharded:
            fully_shard(self.net, mesh=parameter_mesh(plan, "cpu"))

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self.named_parameters())

    def training_step(self, batch: ClipBatch, index: int) -> dict[str, Any]:
        self.mean.add_(1.0)
        error = self.drop(self.net(batch.video.flatten(1))).square().mean(1)
        share = batch.weight / batch.place.step_weight
        low = share * (error < 0.3)
        return {
            "loss": (error * share).sum(),
            "metrics": {
                "loss": (error * share).sum(),
                "loss_low": (error * low).sum(),
                "share_low": low.sum(),
            },
        }


def measured(rank: int, plan: Plan, clips: int = 8) -> dict[str, float]:
    """What a rank measures at the first interval."""
    world = plan.copies * plan.parameter_shards
    task, ema = Task(plan, sharded=world > 1), Ema(half_life=8)
    ema.on_fit_start(Any, task)  # type: ignore[arg-type]
    assert ema.ema is not None
    for value in ema.ema.averages.values():
        value.mul_(0.5)
    weights = task.net.weight.detach().clone()
    plugin = SimpleNamespace(forward_context=nullcontext)
    trainer: Any = SimpleNamespace(
        callbacks=[ema], world_size=world, global_rank=rank, datamodule=Held(), precision_plugin=plugin
    )
    callback = Validation(every_samples=10, clips=clips)
    callback.on_fit_start(trainer, task)  # type: ignore[arg-type]
    figures = []
    for seen in (8, 16, 18, 24):
        place = SimpleNamespace(micro=0, micros=1, samples_seen=seen)
        callback.on_train_batch_end(trainer, task, None, SimpleNamespace(place=place), 0)  # type: ignore[arg-type]
        figures.append(callback.measures())
    assert [bool(found) for found in figures] == [False, True, False, True]
    assert figures[1] == figures[3]
    assert torch.equal(task.net.weight.detach() - weights, torch.zeros_like(weights))
    assert task.training
    assert task.mean == 0
    assert callback.kept()["validation.seen"] == 24
    return dict(figures[1])


def test_any_ranks_measure_what_one_process_measures() -> None:
    alone = measured(0, Plan(replicate=1))
    assert set(alone) == {"val_loss", "val_loss_low", "val_loss_ema", "val_loss_low_ema"}
    assert alone["val_loss"] != alone["val_loss_ema"]
    for plan in (Plan(replicate=2), Plan(replicate=1, shard=2)):
        for found in run_ranks(measured, 2, plan):
            assert found == pytest.approx(alone, rel=1e-6)


def test_a_part_is_a_mean_over_its_share() -> None:
    sums = {"loss": 0.5, "loss_a": 0.25, "share_a": 0.5, "loss_b": 0.0, "share_b": 0.0, "kl": 2.0}
    assert named(sums, suffix="_ema") == {"val_loss_ema": 0.5, "val_loss_a_ema": 0.5, "val_kl_ema": 2.0}


def test_nothing_held_out_is_told() -> None:
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace())
    with pytest.raises(ConfigError, match=r"raise datamodules\.validation"):
        Validation(every_samples=1).on_fit_start(trainer, Any)  # type: ignore[arg-type]
    Validation().on_fit_start(trainer, Any)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"callbacks\.validation needs"):
        Validation(clips=0)
