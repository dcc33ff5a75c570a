"""The VAE's task: starts at principal components, micro-batches add up, statistics follow."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.batch import ClipBatch, Place
from dit_video.models.vae import VAE
from dit_video.optim.adamw import AdamW
from dit_video.tasks.vae import VAETask

BUILD = partial(VAE, channels=12, widths=[8], blocks=[1], time=[1], space=[2], logvar=-20.0)


def batch_of(video: Tensor, *, place: int = 0, micros: int = 1, weight: float = 1.0) -> ClipBatch:
    """Clips as a micro-batch of a step of four."""
    names = tuple(map(str, range(len(video))))
    return ClipBatch(
        video=video,
        weight=torch.full((len(video),), weight),
        captions=names,
        keys=names,
        fps=8.0,
        place=Place(step=0, samples_seen=4, micro=0, micros=micros, packs=((0, place),), step_weight=4.0),
    )


def task_of(*, started: int = 0, start_batches: int = 2) -> VAETask:
    """A task on random clips; the run stands at `started`."""
    torch.manual_seed(0)
    task = VAETask(vae=BUILD, optim=partial(AdamW, lr=1e-2), start_batches=start_batches)
    batches = [batch_of(torch.rand(4, 3, 3, 8, 8) * 2 - 1) for _ in range(3)]
    data = SimpleNamespace(started=(started, 0, 0, 1), train_dataloader=lambda: iter(batches), begin=lambda *_: None)
    strategy = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor, root_device=torch.device("cpu"))
    task._trainer = SimpleNamespace(datamodule=data, world_size=1, strategy=strategy)
    task.configure_model()
    return task


def test_a_new_run_starts_at_principal_components_and_a_resumed_one_does_not() -> None:
    video = torch.rand(4, 3, 3, 8, 8) * 2 - 1
    errors = []
    for task in (task_of(), task_of(started=5), task_of(start_batches=0)):
        linear = task.vae.encoder.linear.first.bias
        errors.append(bool(linear.any()))
        loss = task.training_step(batch_of(video), 0)["metrics"]["mse"]
        assert loss < 1e-3  # all components are kept, and the random start is orthonormal
    assert errors == [True, False, False]


def test_micro_batches_add_up_to_the_step() -> None:
    task, video = task_of(), torch.rand(4, 3, 3, 8, 8)
    whole = task.training_step(batch_of(video), 0)
    parts = [task.training_step(batch_of(video[i : i + 2], micros=2), 0) for i in (0, 2)]
    assert_close(sum(part["loss"] for part in parts) / 2, whole["loss"], rtol=1e-3, atol=1e-5)
    for name, value in whole["metrics"].items():
        assert_close(sum(part["metrics"][name] for part in parts), value, rtol=1e-3, atol=1e-5)


def test_damaged_clips_cost_nothing() -> None:
    assert task_of().training_step(batch_of(torch.zeros(4, 3, 3, 8, 8), weight=0.0), 0)["loss"] == 0


def test_noise_is_keyed_by_the_place() -> None:
    task, batch = task_of(), batch_of(torch.zeros(1, 3, 3, 4, 6))
    first = task.noise(batch, "posterior", (2, 3))
    assert first.shape == (2, 3)
    assert torch.equal(task.noise(batch, "posterior", (2, 3)), first)
    assert not torch.equal(task.noise(batch, "near", (2, 3)), first)
    assert not torch.equal(task.noise(batch_of(batch.video, place=1), "posterior", (2, 3)), first)


def test_statistics_follow_and_are_stored() -> None:
    task, video = task_of(), torch.rand(4, 3, 3, 8, 8)
    before = task.vae.mean.clone()
    task.training_step(batch_of(video), 0)
    flat = task.vae.posterior(video).mean.transpose(0, 1).flatten(1).mean(dim=1)
    assert (task.vae.mean - flat).norm() < (before - flat).norm()
    assert {"vae.mean", "vae.std"} <= set(task.state_dict())


def test_everything_is_trained_under_its_name() -> None:
    task = task_of()
    assert {f"vae.{name}" for name in task.trained()} == {name for name, _ in task.named_parameters()}
