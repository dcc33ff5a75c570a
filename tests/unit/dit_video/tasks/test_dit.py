"""The DiT's task: micro-batches add up, damaged clips cost nothing, everything is trained under its name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from dit_video.batch import PackBatch, Place
from dit_video.errors import ConfigError
from dit_video.flow.levels import Levels
from dit_video.models.dit import DiT
from dit_video.models.text.encoder import TextEncoder
from dit_video.ops.layout import conditioned, join
from dit_video.optim.adamw import AdamW
from dit_video.tasks.dit import DiTTask

CAPTIONS = ("a red circle", "a blue square moves up", "", "nothing")


@pytest.fixture
def task() -> DiTTask:
    torch.manual_seed(0)
    dit = partial(DiT, channels=2, patch=1, width=32, depth=1, heads=2, text_width=16)
    text = partial(TextEncoder, vocabulary=300, length=8, width=16, depth=1, heads=2)
    task = DiTTask(dit=dit, text=text, optim=partial(AdamW, lr=1e-2), levels=Levels(independent=0.5), seed=3)
    task._trainer = SimpleNamespace(datamodule=SimpleNamespace(texts=lambda: list(CAPTIONS)), world_size=1)
    task.configure_model()
    with torch.no_grad():
        for parameter in task.trained().values():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return task


def batch_of(packs: list[int], *, micros: int = 1, sound: bool = True) -> PackBatch:
    """Two clips in each of some packs of a step that weighs 48."""
    clips, captions = [], []
    for pack in packs:
        torch.manual_seed(pack)
        clips += [
            conditioned(torch.randn(2, 3, 2, 2), tail=None, pattern="first", cut=1, patch=1, sound=sound),
            conditioned(torch.randn(2, 1, 4, 4), tail=None, pattern="none", cut=0, patch=1, sound=sound),
        ]
        captions += CAPTIONS[2 * pack : 2 * pack + 2]
    data, weight, layout = join(clips)
    names = tuple(captions)
    return PackBatch(
        data=data,
        weight=weight,
        pack=torch.arange(len(packs)).repeat_interleave(28),
        layout=layout,
        captions=names,
        keys=names,
        sources=names,
        place=Place(
            step=0, samples_seen=4, micro=0, micros=micros, packs=tuple((0, p) for p in packs), step_weight=48.0
        ),
    )


def test_micro_batches_add_up_to_the_step(task: DiTTask) -> None:
    whole = task.training_step(batch_of([0, 1]), 0)
    parts = [task.training_step(batch_of([pack], micros=2), 0) for pack in (0, 1)]
    assert_close(sum(part["loss"] for part in parts) / 2, whole["loss"])  # Lightning divides by the micro-batches
    for name, value in whole["metrics"].items():
        assert_close(sum(part["metrics"][name] for part in parts), value)


def test_damaged_clips_cost_nothing(task: DiTTask) -> None:
    assert task.training_step(batch_of([0, 1], sound=False), 0)["loss"] == 0


def test_the_same_place_costs_the_same_and_the_seed_counts(task: DiTTask) -> None:
    first = task.training_step(batch_of([0]), 0)["loss"]
    assert task.training_step(batch_of([0]), 7)["loss"] == first
    task.seed = 4
    assert task.training_step(batch_of([0]), 0)["loss"] != first


def test_everything_is_trained_under_its_name(task: DiTTask) -> None:
    assert set(task.trained()) == {name for name, _ in task.named_parameters()}
    before = {name: value.clone() for name, value in task.trained().items()}
    optimizer = task.configure_optimizers()
    task.training_step(batch_of([0, 1]), 0)["loss"].backward()
    optimizer.step()
    assert [name for name, value in task.trained().items() if torch.equal(value, before[name])] == []


def test_a_few_packs_are_learnt_by_heart(task: DiTTask) -> None:
    optimizer, batch, losses = task.configure_optimizers(), batch_of([0, 1]), []
    for _ in range(60):
        loss = task.training_step(batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_latents_of_another_width_are_refused(task: DiTTask) -> None:
    batch = batch_of([0])
    wide = replace(batch, data=torch.cat([batch.data, batch.data], dim=1))
    for given in (task.rehearse, lambda batch: task.training_step(batch, 0)):
        with pytest.raises(ConfigError, match=r"4 channels and the DiT takes 2; set models\.dit\.channels=4"):
            given(wide)


def test_models_are_built_once(task: DiTTask) -> None:
    dit = task.dit
    task.configure_model()
    assert task.dit is dit
    assert task.text.tokenizer.encode(["a red circle"], length=8).shape == (1, 8)
