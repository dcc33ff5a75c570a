"""The rehearsal of a step against the step: FLOPs against the closed formula, memory against torch's own profiler."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.profiler import ProfilerActivity, profile

from dit_video.batch import ClipBatch, PackBatch, Place
from dit_video.errors import ConfigError
from dit_video.models.dit import DiT
from dit_video.models.recaptioner import Recaptioner
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.vae import VAE
from dit_video.ops.layout import clip_tokens, join, padding
from dit_video.optim.adamw import AdamW
from dit_video.optim.muon import Muon
from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.plan import Plan
from dit_video.parallel.rehearsal import forward_flops, memory, precise
from dit_video.strategy import MeshStrategy
from dit_video.tasks.dit import DiTTask
from dit_video.tasks.recaptioner import RecaptionerTask
from dit_video.tasks.vae import VAETask

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

FACTOR = 1.1
WORDS = ("a red circle moves left", "still")
PLACE = Place(step=0, samples_seen=2, micro=0, micros=1, packs=((0, 0),), step_weight=8.0)


class Square(nn.Module):
    """A task whose memory can be told by hand: one matrix, squared."""

    def build(self) -> None:
        self.weight = nn.Parameter(torch.empty(64, 64))

    def rehearse(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch @ self.weight).sum()

    def trained(self) -> dict[str, nn.Parameter]:
        return {"weight": self.weight}

    def averaged(self) -> dict[str, nn.Parameter]:
        return self.trained()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return AdamW([("weight", self.weight)], lr=1e-3, clip=None)


def vae() -> VAETask:
    make = partial(VAE, channels=8, widths=[32, 64], blocks=[1, 1], time=[2, 2], space=[4, 2])
    return VAETask(vae=make, optim=partial(AdamW, lr=1e-3), start_batches=0)


def recaptioner() -> RecaptionerTask:
    make = partial(Recaptioner, width=64, depth=1, heads=2, vocabulary=300)
    return RecaptionerTask(recaptioner=make, optim=partial(AdamW, lr=1e-3), length=12)


def dit(width: int = 64) -> DiTTask:
    text = partial(TextEncoder, vocabulary=300, length=8, width=32, depth=1, heads=2)
    make = partial(DiT, channels=8, patch=1, width=width, depth=3, heads=2, text_width=32)
    return DiTTask(dit=make, text=text, optim=partial(Muon, lr=1e-3))


def clips() -> ClipBatch:
    video = torch.zeros(4, 3, 17, 64, 48)
    return ClipBatch(video=video, weight=torch.ones(4), captions=WORDS * 2, keys=("",) * 4, fps=8.0, place=PLACE)


def packs() -> PackBatch:
    still = {"given": torch.zeros(5, dtype=torch.bool), "lead": torch.arange(5) == 0, "times": torch.arange(5)}
    parts = [clip_tokens(torch.zeros(8, 5, 8, 12), patch=1, **still) for _ in range(2)] + [padding(64, 8)]
    data, weight, layout = join(parts)
    names = (*WORDS, "")
    return PackBatch(
        data=data,
        weight=weight,
        pack=torch.zeros(len(data), dtype=torch.int64),
        layout=layout,
        captions=names,
        keys=names,
        sources=names,
        place=PLACE,
    )


def hollow(batch: Any) -> Any:
    """The same batch without numbers, on whichever device makes tensors now."""
    made = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            made[field.name] = torch.empty(value.shape, dtype=value.dtype)
        elif field.name == "layout":
            made[field.name] = hollow(value)
    return replace(batch, **made)


def measured(task: Any, batch: Any, **about: Any) -> int:
    """The most bytes that live while a task is built and takes two steps, by torch's profiler."""
    data = SimpleNamespace(started=(0, 0, 0, 1), texts=lambda: list(WORDS) * 20, length=1024)
    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=lambda tensor, reduce_op: tensor)
    task._trainer = SimpleNamespace(**{"world_size": 1, "datamodule": data, "strategy": strategy} | about)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        task.configure_model()
        optimizer = task.configure_optimizers()
        given = batch()
        for _ in range(2):
            optimizer.zero_grad(set_to_none=False)
            task.training_step(given, 0)["loss"].backward()
            optimizer.step()
    assert found.profiler is not None
    results = found.profiler.kineto_results
    assert results is not None
    changes = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    return int(np.cumsum([change for _, change in changes]).max())


@pytest.mark.parametrize(
    ("make", "batch", "precision"),
    [
        (vae, clips, "32-true"),
        (recaptioner, clips, "32-true"),
        (dit, packs, "32-true"),
        (vae, clips, "bf16-mixed"),
        (dit, packs, "bf16-mixed"),
    ],
)
def test_memory_is_that_of_a_real_step(make: Callable[[], Any], batch: Callable[[], Any], precision: str) -> None:
    real = batch()
    estimate = memory(make(), lambda: hollow(real), precision=precision)
    with precise(precision):
        peak = measured(make(), batch)
    assert peak / FACTOR < estimate.total < peak * FACTOR, (estimate, peak)


def on_a_rank(rank: int, plan: Plan, width: int) -> int:
    """The most bytes that live on a rank."""
    strategy = MeshStrategy(plan)
    strategy.mesh, strategy.parameters = build_mesh(plan, "cpu"), parameter_mesh(plan, "cpu")
    strategy.parallel_devices = [torch.device("cpu")]
    made = dit(width)
    made.plan = plan
    world = dist.get_world_size()
    return measured(made, packs, world_size=world, global_rank=rank, strategy=strategy, precision="32-true")


@pytest.mark.parametrize(("width", "plan"), [(256, Plan(shard=2)), (64, Plan(sequence=2, recompute="full"))])
def test_memory_of_a_rank_is_that_of_a_real_step(plan: Plan, width: int) -> None:
    plan, real = plan.fill(2), packs()
    estimate = memory(dit(width), lambda: hollow(real), plan=plan)
    peak = min(run_ranks(on_a_rank, 2, plan, width))  # gloo may let go of a buffer late, on one rank or another
    assert peak / FACTOR < estimate.total < peak * 1.25, (estimate, peak)


def test_memory_by_hand() -> None:
    found = memory(Square(), lambda: torch.empty(256, 64), averages=True)
    whole, batch = 64 * 64 * 4, 256 * 64 * 4
    assert (found.parameters, found.weights, found.gradients, found.averages) == (64 * 64, whole, whole, whole)
    assert found.optimizer == 2 * whole + 4
    assert found.checkpoint == found.weights + found.averages + found.optimizer
    assert found.activations >= 2 * batch  # the batch and the product
    assert found.total == 5 * whole + 4 + found.activations


def test_half_precision_halves_what_is_saved_and_no_weights() -> None:
    real = packs()
    whole, mixed = (memory(dit(), lambda: hollow(real), precision=name) for name in ("32-true", "bf16-mixed"))
    assert (mixed.weights, mixed.optimizer) == (whole.weights, whole.optimizer)
    assert 0.5 * whole.activations < mixed.activations < 0.9 * whole.activations
    with pytest.raises(ConfigError, match=r"trainer\.precision=64-true .* bf16-mixed"):
        memory(dit(), lambda: hollow(real), precision="64-true")


def test_flops_of_a_pack_are_the_formula_and_the_texts() -> None:
    task, real = dit(), packs()
    with torch.device("meta"):
        task.build()
    clips = task.flops(tokens=np.array([480, 480, 64]), frames=np.array([5, 5, 1])).sum()
    texts = forward_flops(task, lambda: hollow(real)) - clips
    width, length = 32, 8
    assert texts == 3 * (length * 24 * width**2 + 4 * length**2 * width)


def test_flops_of_a_vae_are_in_proportion_to_the_area() -> None:
    task, real = vae(), clips()
    with torch.device("meta"):
        task.build()
    found = [forward_flops(task, lambda side=side: hollow_clip(real, side)) for side in (16, 32)]
    assert found[1] == 4 * found[0] > 0


def hollow_clip(batch: ClipBatch, side: int) -> ClipBatch:
    """A batch of one clip of side x side."""
    return replace(batch, video=torch.empty(1, 3, 9, side, side))
