"""Samples while training: at each interval once, raw and averaged, the same on any number of ranks."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from dit_video.callbacks.ema import Ema
from dit_video.callbacks.samples import Samples, drawn
from dit_video.errors import CheckpointError, ConfigError, RequestError
from dit_video.models.dit import DiT
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.text.tokenizer import Tokenizer
from dit_video.models.vae import VAE
from dit_video.ops.layout import conditioned, join
from dit_video.parallel import agree
from dit_video.parallel.mesh import build_mesh, parameter_mesh
from dit_video.parallel.plan import Plan
from dit_video.parallel.shard import shard
from dit_video.pipeline import generate as generation
from dit_video.pipeline import recipe as recipes
from dit_video.pipeline.denoise import Sampling
from dit_video.pipeline.recipe import Recipe
from dit_video.shapes import VideoShape

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

BUCKETS = (VideoShape(frames=1, height=64, width=64), VideoShape(frames=5, height=16, width=24))
PROMPTS = ["a red circle", "a blue square", "a green star"]
STILL = np.zeros((1, 16, 16, 3), np.uint8)


def batch(samples_seen: int, *, micro: int = 1) -> Any:
    return SimpleNamespace(place=SimpleNamespace(micro=micro, micros=2, samples_seen=samples_seen))


def trainer(**more: Any) -> Any:
    plain = {"is_global_zero": True, "callbacks": [], "logger": None, "global_rank": 0, "world_size": 1}
    return SimpleNamespace(**(plain | {"precision_plugin": SimpleNamespace(forward_context=nullcontext)} | more))


def watched(folder: Path, shown: list[int], monkeypatch: pytest.MonkeyPatch) -> Samples:
    """The callback of a run in `folder`, which writes what it shows."""

    def show(trainer: Any, task: Any, samples_seen: int) -> None:
        shown.append(samples_seen)
        callback.write({folder / "samples" / f"{samples_seen:09d}-raw-0.mp4": STILL})

    callback = Samples(dir=str(folder), every_samples=100)
    callback.models = SimpleNamespace(recipe=SimpleNamespace(fps=8.0))  # type: ignore[assignment]
    monkeypatch.setattr(callback, "show", show)
    return callback


def test_intervals_are_sampled_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    callback = watched(tmp_path, shown, monkeypatch)
    for seen in range(30, 400, 30):
        for micro in (0, 1):
            callback.on_train_batch_end(trainer(), Any, None, batch(seen, micro=micro), 0)  # type: ignore[arg-type]
    assert shown == [120, 210, 300]


@pytest.mark.parametrize(
    ("kept", "begin", "wanted"),
    [
        ([120, 210], 240, [300]),  # what stands is not made again
        ([120, 210], 210, [210, 300]),  # back before it: made again
        ([120], 210, [210, 300]),  # the first step after the resume fills the interval
        ([120], 240, [240, 300]),  # killed at 210, after the checkpoint and before the videos
        ([], 30, [120, 210, 300]),
    ],
)
def test_a_resumed_run_skips_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: list[int], begin: int, wanted: list[int]
) -> None:
    shown: list[int] = []
    callback = watched(tmp_path, shown, monkeypatch)
    for seen in kept:
        callback.write({tmp_path / "samples" / f"{seen:09d}-raw-0.mp4": STILL})
    callback.write({tmp_path / "samples" / "000000300-ema-0.mp4": STILL})  # the first is written last
    for seen in range(begin, 330, 30):
        callback.on_train_batch_end(trainer(), Any, None, batch(seen), 0)  # type: ignore[arg-type]
    assert shown == wanted


def test_a_missing_vae_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        Samples(dir=str(tmp_path), every_samples=5).on_fit_start(trainer(), Any)  # type: ignore[arg-type]
    Samples(dir=str(tmp_path), every_samples=0).on_fit_start(trainer(), Any)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"callbacks\.samples"):
        Samples(dir=str(tmp_path), every_samples=5, seconds=0.0)


class Task(nn.Module):
    """A DiT and its text encoder, spread over processes as the plan says."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dit = DiT(channels=4, patch=1, width=16, depth=1, heads=2, text_width=8)
        self.text = TextEncoder(vocabulary=300, length=8, width=8, depth=1, heads=2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape))
        self.text.set_tokenizer(Tokenizer.train(PROMPTS, size=300))
        self.plan, self.device, self.mesh = plan, torch.device("cpu"), None
        if not agree.alone():
            self.mesh, parameters = build_mesh(plan, "cpu"), parameter_mesh(plan, "cpu")
            for model in (self.dit, self.text):
                shard(model, plan, mesh=self.mesh, parameters=parameters)

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self.named_parameters())

    def loss(self) -> torch.Tensor:
        """A forward and backward of training, each rank on its part of the tokens."""
        data, _, layout = join(
            [conditioned(torch.ones(4, 2, 2, 3), tail=None, pattern="none", cut=0, patch=1) for _ in PROMPTS]
        )
        if self.plan.sequence == 1:
            found = self.dit(data, torch.full((6,), 0.5), layout, self.text(PROMPTS)).square().mean()
            found.backward()
            return found.detach()
        return torch.zeros(())


def shown(rank: int, plan: Plan, folder: str) -> tuple[dict[str, np.ndarray], torch.Tensor, torch.Tensor]:
    """The videos that a rank writes, and the loss of training before and after they are made."""
    task, ema = Task(plan), Ema(half_life=8)
    ema.on_fit_start(Any, task)  # type: ignore[arg-type]
    assert ema.ema is not None
    for value in ema.ema.averages.values():
        value.mul_(1.5)
    torch.manual_seed(1)
    vae = VAE(channels=4, widths=[8], blocks=[1], time=[4], space=[8]).eval()
    about = {"global_rank": rank, "world_size": plan.copies * plan.parameter_shards, "is_global_zero": rank == 0}
    run = trainer(callbacks=[ema], strategy=SimpleNamespace(mesh=task.mesh), **about)
    callback = Samples(dir=folder, every_samples=1, prompts=PROMPTS, sampling=Sampling(steps=2))
    made = Recipe(buckets=BUCKETS, fps=8.0, compression=vae.compression)
    patch = pytest.MonkeyPatch()
    patch.setattr(recipes, "read_recipe", lambda folder: (made, SimpleNamespace(load=lambda: vae)))
    callback.on_fit_start(run, task)  # type: ignore[arg-type]
    patch.undo()
    before = task.loss()
    written: dict[str, np.ndarray] = {}
    callback.write = lambda videos: written.update({p.name: f for p, f in videos.items()})  # type: ignore[assignment]
    callback.show(run, task, 12)  # type: ignore[arg-type]
    assert task.training
    after = task.loss()
    assert {name.split(".")[0] for name in ema.tensors(task)} == {"dit", "text"}  # type: ignore[arg-type]
    return written, before, after


def test_any_ranks_show_what_one_process_shows_and_training_goes_on(tmp_path: Path) -> None:
    alone, _, _ = shown(0, Plan(replicate=1), str(tmp_path))
    assert sorted(alone) == [f"000000012-{kind}-{number}.mp4" for kind in ("ema", "raw") for number in range(3)]
    assert not np.array_equal(alone["000000012-raw-1.mp4"], alone["000000012-ema-1.mp4"])
    for plan in (Plan(replicate=1, shard=2), Plan(replicate=1, sequence=2)):
        ranks = run_ranks(shown, 2, plan, str(tmp_path))
        together = {name: frames for written, _, _ in ranks for name, frames in written.items()}
        assert set(together) == set(alone)
        for name, frames in together.items():
            assert np.abs(frames.astype(int) - alone[name].astype(int)).max() <= 1, (plan, name)
        assert sum(len(written) for written, _, _ in ranks) == len(alone)
        for _, before, after in ranks:
            assert_close(after, before, rtol=0, atol=0)


def test_no_round_is_begun_when_time_is_over_and_what_is_not_finite_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def generate(requests: list[Any], **settings: Any) -> Any:
        asked.extend(request.prompt for request in requests)
        if asked[-1] == PROMPTS[0]:
            raise RequestError("values that are not finite")
        return iter([STILL])

    monkeypatch.setattr(generation, "generate", generate)
    callback = Samples(dir=str(tmp_path), every_samples=1, prompts=PROMPTS, seconds=1e-9)
    callback.models = SimpleNamespace(recipe=SimpleNamespace(buckets=BUCKETS, fps=8.0))  # type: ignore[assignment]
    callback.show(trainer(), nn.Linear(1, 1), 12)  # type: ignore[arg-type]
    assert asked == PROMPTS[:1]
    assert not list(tmp_path.rglob("*.mp4"))
    callback.seconds = None
    callback.show(trainer(), nn.Linear(1, 1), 12)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.rglob("*.mp4")) == [f"000000012-raw-{n}.mp4" for n in (1, 2)]


def test_prompts_are_drawn_alike_whenever_the_run_goes_on() -> None:
    texts = ["", *(f"caption {number}" for number in range(50)), "caption 3"]
    assert drawn(texts) == drawn(list(texts))
    assert len(set(drawn(texts))) == 4
    assert drawn([""]) == []
