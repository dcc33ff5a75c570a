"""The VAE's task: starts at principal components, micro-batches add up, statistics follow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from torch.testing import assert_close

from dit_video import checkpoint
from dit_video.batch import ClipBatch, Place
from dit_video.errors import CheckpointError, ConfigError
from dit_video.models.vae import VAE
from dit_video.models.vae.discriminator import Discriminator
from dit_video.optim.adamw import AdamW
from dit_video.tasks.adversary import Adversary
from dit_video.tasks.vae import VAETask

SIZE: dict[str, Any] = {"channels": 12, "widths": [8], "blocks": [1], "time": [1], "space": [2], "logvar": -20.0}
BUILD = partial(VAE, **SIZE)


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


def task_of(*, started: int = 0, start_batches: int = 2, vae: Callable[..., VAE] = BUILD, **settings: Any) -> VAETask:
    """A task on random clips; the run stands at `started`."""
    torch.manual_seed(0)
    task = VAETask(vae=vae, optim=partial(AdamW, lr=1e-2), start_batches=start_batches, **settings)
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


def adversary() -> Adversary:
    return Adversary(discriminator=partial(Discriminator, widths=[4], time=[1]), optim=partial(AdamW, lr=1e-2))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run whose VAE is all 0.5, on average 0.25, and whose discriminator is all 2."""
    node = {"_target_": "dit_video.models.vae.VAE", **SIZE}
    model = {f"vae.{name}": torch.full_like(value, 0.5) for name, value in BUILD().state_dict().items()}
    averages = {name: torch.full_like(value, 0.25) for name, value in model.items()}
    judge = adversary().make().state_dict()
    model |= {f"discriminator.{name}": torch.full_like(value, 2.0) for name, value in judge.items()}
    config = yaml.safe_dump({"models": {"vae": node}})
    tensors = {"model": model, "ema": averages}
    checkpoint.save(tmp_path / "checkpoints", tensors, config=config, fingerprint="f", step=1, samples_seen=4)
    return tmp_path


def test_a_new_run_begins_with_the_averages_of_another_and_a_resumed_one_does_not(run: Path) -> None:
    task = task_of(weights=str(run), adversary=adversary())
    assert all((value == 0.25).all() for value in task.vae.state_dict().values())
    assert all((value == 2).all() for value in task.discriminator.state_dict().values())
    assert not task_of(weights=str(run), adversary=adversary(), started=3).discriminator.squares.any()
    assert (task_of(weights=str(run)).vae.mean == 0.25).all()


def test_weights_of_another_size_are_refused_by_their_key(run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tasks\.weights=.* does not fit this vae"):
        task_of(weights=str(run), vae=partial(VAE, **SIZE | {"widths": [16]}))
    with pytest.raises(CheckpointError, match="is not the folder of a run"):
        task_of(weights=str(run / "elsewhere"))


def test_the_decoder_alone_leaves_every_latent_as_it_was(run: Path) -> None:
    task, video = task_of(weights=str(run), parts="decoder"), torch.rand(4, 3, 3, 8, 8)
    optimizer, before = task.configure_optimizers(), {n: v.clone() for n, v in task.vae.state_dict().items()}
    task.training_step(batch_of(video), 0)["loss"].backward()
    optimizer.step()
    changed = {name for name, value in task.vae.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed | set(task.trained()))
    assert torch.equal(task.vae.encode(video), (task.vae.posterior(video).mean - 0.25) / task.vae.scale())


def test_a_decoder_needs_an_encoder_that_has_learnt() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.weights=RUN"):
        task_of(parts="decoder")
    with pytest.raises(ConfigError, match="expected all or decoder"):
        task_of(parts="encoder")
