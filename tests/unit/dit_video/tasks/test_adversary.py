"""The game in one backward: each side has the gradients of its own loss, and any number of ranks those of one."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from dit_video.batch import ClipBatch, Place
from dit_video.errors import ConfigError
from dit_video.flow import adversarial as game
from dit_video.models.vae import VAE
from dit_video.models.vae.discriminator import Discriminator
from dit_video.optim.adamw import AdamW
from dit_video.parallel.local import put
from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.plan import Plan
from dit_video.parallel.rehearsal import forward_flops, memory
from dit_video.parallel.shard import shard
from dit_video.seeds import generator
from dit_video.tasks.adversary import Adversary
from dit_video.tasks.vae import VAETask

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

BUILD = partial(VAE, channels=6, widths=[8, 8], blocks=[1, 1], time=[1, 2], space=[2, 2])
JUDGE = partial(Discriminator, widths=[8, 8], time=[1, 2])
MICROS, STEPS = 4, 2


def adversary(**settings: Any) -> Adversary:
    """One that is heeded in full from the beginning."""
    return Adversary(discriminator=JUDGE, optim=partial(AdamW, lr=1e-2), **settings)


def task_of(*, ranks: int = 1, **settings: Any) -> VAETask:
    """A task with random values everywhere."""
    task = VAETask(vae=BUILD, optim=partial(AdamW, lr=1e-2), adversary=adversary(**settings))
    task.build()
    enliven(task)
    strategy = SimpleNamespace(reduce=summed, root_device=torch.device("cpu"))
    task._trainer = SimpleNamespace(world_size=ranks, strategy=strategy)
    return task


def enliven(task: VAETask) -> None:
    """Values for the models, sharded or not."""
    for number, parameter in enumerate(task.parameters()):
        source = generator(0, "lively", number)
        put(parameter, torch.randn(parameter.shape, generator=source) * 0.3)


def summed(tensor: Tensor, reduce_op: str) -> Tensor:
    """Over all ranks, as the strategy does it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
        return tensor / dist.get_world_size() if reduce_op == "mean" else tensor
    return tensor


def batch_of(step: int, number: int, *, micro: int = 0, micros: int = 1, frames: int = 3) -> ClipBatch:
    """Micro-batch `number` of a step of four, one of which is an image."""
    source = generator(0, "clip", step, number)
    video = torch.rand(2, 3, 1 if number == 2 else frames, 16, 16, generator=source) * 2 - 1
    place = Place(
        step=step,
        samples_seen=8 * (step + 1),
        micro=micro,
        micros=micros,
        packs=((number, step),),
        step_weight=8.0,
    )
    return ClipBatch(
        video=video,
        weight=torch.ones(2),
        captions=("",) * 2,
        keys=("",) * 2,
        fps=8.0,
        place=place,
    )


def test_each_side_has_the_gradients_of_its_own_loss() -> None:
    task = task_of(weight=0.7, sigma=0.1, penalty=3.0)
    batch = batch_of(0, 0)
    task.discriminator.squares.copy_(torch.tensor([4.0, 1.0]))
    loss = task.training_step(batch, 0)["loss"]
    loss.backward()
    found = {name: parameter.grad for name, parameter in task.named_parameters()}
    share = batch.weight / 8
    noise = task.noise(batch, "posterior", task.vae.latent_shape(batch.video))
    video, posterior = task.vae(batch.video, noise)
    judge = task.discriminator
    real, fake = judge(batch.video), judge(video)
    near = judge(batch.video + 0.1 * task.noise(batch, "near", tuple(batch.video.shape)))
    rebuilt = (task.loss(video, batch.video, posterior.kl()).loss * share).sum()
    assert_close(loss, rebuilt)  # the game has no part in the value
    asked = (game.generator_loss(real.detach(), fake, kind="relativistic") * share).sum()
    own = torch.autograd.grad(rebuilt + 0.7 * 2 * asked, list(task.vae.parameters()), retain_graph=True)
    for (name, _), gradient in zip(task.vae.named_parameters(), own, strict=True):
        assert_close(
            found[f"vae.{name}"], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    apart = judge(video.detach())
    judged = game.discriminator_loss(real, apart, kind="relativistic") + 3.0 * game.smoothness(real, near)
    own = torch.autograd.grad((judged * share).sum(), list(judge.parameters()))
    for (name, _), gradient in zip(judge.named_parameters(), own, strict=True):
        assert_close(
            found[f"discriminator.{name}"],
            gradient,
            rtol=1e-4,
            atol=1e-6,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def play(task: VAETask, numbers: list[int]) -> list[dict[str, Tensor]]:
    """Gradients of steps of these micro-batches, with nothing learnt but the balance."""
    found = []
    for step in range(STEPS):
        for micro, number in enumerate(numbers):
            last = micro == len(numbers) - 1
            for model in task.children():
                if hasattr(model, "set_requires_all_reduce"):
                    model.set_requires_all_reduce(last)
            loss = task.training_step(batch_of(step, number, micro=micro, micros=len(numbers)), 0)["loss"]
            (loss / len(numbers)).backward()
        found.append({name: whole(p.grad) for name, p in task.named_parameters() if p.grad is not None})
        found[-1]["squares"] = task.discriminator.squares.clone()
        task.zero_grad()
    return found


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor.clone()


def compare(rank: int, plan: Plan) -> None:
    """Two steps of a plan are two steps of one process."""
    task = task_of(ranks=2)
    mesh = build_mesh(plan, "cpu")
    for model in task.children():
        shard(model, plan, mesh=mesh, parameters=parameter_mesh(plan, "cpu"))
    enliven(task)
    parted = play(task, [number for number in range(MICROS) if number % 2 == rank])
    dist.barrier()
    dist.destroy_process_group()  # what follows is one process alone
    for here, there in zip(parted, play(task_of(), list(range(MICROS))), strict=True):
        assert here.keys() == there.keys()
        for name, value in there.items():
            assert value.abs().max() > 0 or name == "discriminator.out.bias", name  # a shift of all logits is nothing
            assert_close(here[name], value, rtol=2e-4, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("plan", [(2, 1, "none"), (1, 2, "full")])
def test_two_processes_play_as_one(plan: tuple[int, int, str]) -> None:
    replicate, shards, recompute = plan
    run_ranks(compare, 2, Plan(replicate=replicate, shard=shards, recompute=recompute))


def test_the_discriminator_begins_alone_and_is_heeded_by_and_by() -> None:
    task = task_of(start=8, alone=8, warmup=16)
    forces = []
    for step in range(5):
        made = task.training_step(batch_of(step, 0), 0)
        made["loss"].backward()
        assert (task.discriminator.out.weight.grad is not None) == (step >= 1)
        forces.append(made["metrics"].get("gan_force"))
    assert forces[0] is None
    assert forces[1] == 0
    assert all(force > 0 for force in forces[2:])


def test_nothing_is_judged_where_nothing_is_learnt() -> None:
    task = task_of()
    before = task.discriminator.squares.clone()
    with torch.no_grad():
        metrics = task.training_step(batch_of(0, 0), 0)["metrics"]
    assert not [name for name in metrics if name.startswith("gan")]
    assert torch.equal(task.discriminator.squares, before)


def test_a_plan_knows_what_the_game_costs() -> None:
    """Of a training step, by the counter of FLOPs, and of its memory."""
    tasks = [VAETask(vae=BUILD, optim=partial(AdamW, lr=1e-2), adversary=one) for one in (None, adversary())]
    flops, kept = [], []
    for task in tasks:
        with torch.device("meta"):
            task.build()
        flops.append(forward_flops(task, lambda: batch_of(0, 0).to("meta")))
        fresh = VAETask(vae=task.make, optim=task.optim, adversary=task.adversary)
        kept.append(memory(fresh, lambda: batch_of(0, 0), averages=True))
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        JUDGE()(torch.empty(6, 3, 3, 16, 16))
    assert flops[1] - flops[0] == counter.get_total_flops()
    judge = sum(parameter.numel() for parameter in JUDGE().parameters())
    assert kept[1].parameters - kept[0].parameters == judge
    assert kept[1].averages == kept[0].averages
    assert kept[1].activations > kept[0].activations


def test_the_average_is_of_the_vae_alone() -> None:
    task = task_of()
    assert all(not name.startswith("discriminator") for name in task.averaged())
    assert len(task.trained()) == len(list(task.parameters()))


def test_a_clip_that_weighs_nothing_says_nothing() -> None:
    task = task_of()
    batch = batch_of(0, 0)
    batch.weight[1] = 0
    task.training_step(batch, 0)["loss"].backward()
    found = {name: p.grad.clone() for name, p in task.named_parameters()}
    task.zero_grad()
    batch.video[1] = 0.3
    task.training_step(batch, 0)["loss"].backward()
    for name, parameter in task.discriminator.named_parameters():
        assert_close(parameter.grad, found[f"discriminator.{name}"], msg=name)


@pytest.mark.parametrize("settings", [{"kind": "wasserstein"}, {"weight": -1.0}, {"rate": 0.0}])
def test_what_has_no_meaning_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        adversary(**settings)
