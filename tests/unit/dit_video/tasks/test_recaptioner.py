from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from dit_video.batch import ClipBatch, Place
from dit_video.models.recaptioner import Recaptioner
from dit_video.optim.adamw import AdamW
from dit_video.tasks.recaptioner import RecaptionerTask

CAPTIONS = ("a red circle", "a large blue square moves up", "a green thing", "nothing")


@pytest.fixture
def task() -> RecaptionerTask:
    torch.manual_seed(0)
    build = partial(Recaptioner, width=32, heads=4, vocabulary=300, slots=4, side=16)
    task = RecaptionerTask(recaptioner=build, optim=partial(AdamW, lr=1e-3), length=40)
    task._trainer = SimpleNamespace(datamodule=SimpleNamespace(texts=lambda: list(CAPTIONS)), world_size=1)
    task.configure_model()
    return task


def batch_of(video: torch.Tensor, captions: tuple[str, ...], *, micros: int = 1, weight: float = 1.0) -> ClipBatch:
    """Clips as a micro-batch of a step of four."""
    place = Place(step=0, samples_seen=4, micro=0, micros=micros, packs=((0, 0),), step_weight=4.0)
    keys = tuple(map(str, range(len(video))))
    weights = torch.full((len(video),), weight)
    return ClipBatch(video=video, weight=weights, captions=captions, keys=keys, fps=12.0, place=place)


def test_micro_batches_add_up_to_the_step(task: RecaptionerTask) -> None:
    video = torch.randn(4, 3, 5, 16, 16)
    whole = task.training_step(batch_of(video, CAPTIONS), 0)
    parts = [task.training_step(batch_of(video[i : i + 2], CAPTIONS[i : i + 2], micros=2), 0) for i in (0, 2)]
    assert_close(sum(part["loss"] for part in parts) / 2, whole["loss"])  # Lightning divides by the micro-batches
    for name, value in whole["metrics"].items():
        assert_close(sum(part["metrics"][name] for part in parts), value)


def test_damaged_clips_cost_nothing(task: RecaptionerTask) -> None:
    out = task.training_step(batch_of(torch.zeros(4, 3, 5, 16, 16), CAPTIONS, weight=0.0), 0)
    assert out["loss"].item() == 0


def test_the_vocabulary_is_that_of_the_captions_until_a_checkpoint_is_read(task: RecaptionerTask) -> None:
    other = Recaptioner(width=32, heads=4, vocabulary=300, slots=4, side=16)
    from dit_video.models.text.tokenizer import Tokenizer

    other.set_tokenizer(Tokenizer.train(["quite another corpus", "another corpus"], size=300))
    task.recaptioner.load_state_dict(other.state_dict())
    assert task.tokenizer.to_json() == other.tokenizer().to_json()


def test_everything_is_trained_under_its_name(task: RecaptionerTask) -> None:
    assert set(task.trained()) == {name for name, _ in task.recaptioner.named_parameters()}
    before = {name: value.clone() for name, value in task.trained().items()}
    optimizer = task.configure_optimizers()
    task.training_step(batch_of(torch.randn(4, 3, 5, 16, 16), CAPTIONS), 0)["loss"].backward()
    optimizer.step()
    still = {name for name, value in task.trained().items() if torch.equal(value, before[name])}
    assert still == set()
