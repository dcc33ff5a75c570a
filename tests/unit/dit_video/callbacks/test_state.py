from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dit_video.callbacks.checkpoint import Checkpoint
from dit_video.callbacks.preempt import Preempt
from dit_video.callbacks.state import State, command, job
from dit_video.errors import CheckpointError
from dit_video.runs import sign


def trainer(*callbacks: Any, first: bool = True) -> Any:
    return SimpleNamespace(is_global_zero=first, world_size=4, callbacks=list(callbacks))


def batch(step: int, *, micro: int = 0) -> Any:
    return SimpleNamespace(place=SimpleNamespace(step=step, samples_seen=4 * (step + 1), micro=micro, micros=1 + micro))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(dir=str(tmp_path), name="a", samples=8)
    yield made
    made.over.set()
    if made.thread.is_alive():
        made.thread.join()


def test_it_says_that_it_begins_then_where_it_is_and_at_last_that_it_is_done(state: State, tmp_path: Path) -> None:
    state.setup(trainer(), LightningModule(), "fit")
    own = sign.read(tmp_path)
    assert own is not None
    assert (own.name, own.samples, own.ranks, own.step, own.ended) == ("a", 8, 4, 0, None)
    assert (own.host, own.process) == (socket.gethostname(), os.getpid())
    for step in range(2):
        state.on_train_batch_end(trainer(), LightningModule(), {}, batch(step), 0)
    state.put()
    own = sign.read(tmp_path)
    assert own is not None
    assert (own.step, own.samples_seen, own.ended) == (2, 8, None)
    assert own.stepped is not None
    state.on_train_end(trainer(), LightningModule())
    own = sign.read(tmp_path)
    assert own is not None
    assert own.ended is not None
    assert own.ended.how == "done"
    assert not state.thread.is_alive()


def test_a_run_that_goes_on_says_from_where(state: State, tmp_path: Path) -> None:
    saver = Checkpoint(dir=str(tmp_path), every_samples=4)
    saver.found = tmp_path / "checkpoints/000000000004-00000001"
    state.setup(trainer(saver), LightningModule(), "fit")
    own = sign.read(tmp_path)
    assert own is not None
    assert (own.resumed, own.step, own.samples_seen, own.stepped) == (1, 1, 4, None)


def test_the_thread_shows_life_by_itself(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign, "EVERY", 0.01)
    state.setup(trainer(), LightningModule(), "fit")
    state.on_train_batch_end(trainer(), LightningModule(), {}, batch(0), 0)
    state.on_train_batch_end(
        trainer(), LightningModule(), {}, SimpleNamespace(place=SimpleNamespace(micro=0, micros=2)), 0
    )  # type: ignore[arg-type]
    for _ in range(500):
        own = sign.read(tmp_path)
        assert own is not None
        if own.step == 1:
            return
        threading.Event().wait(0.01)
    pytest.fail("no sign of life")


@pytest.mark.parametrize(
    ("error", "how", "text"),
    [
        (ValueError("no\nmore"), "failed", "in step 2, ValueError: no more"),
        (CheckpointError("the disk is full"), "failed", "the disk is full"),
        (KeyboardInterrupt(), "interrupted", ""),
        (SIGTERMException(), "stopped", ""),
    ],
)
def test_what_ended_it_is_its_last_word(
    state: State, tmp_path: Path, error: BaseException, how: str, text: str
) -> None:
    state.setup(trainer(), LightningModule(), "fit")
    state.on_train_batch_end(trainer(), LightningModule(), {}, batch(0), 0)
    state.on_exception(trainer(), LightningModule(), error)
    state.on_train_end(trainer(), LightningModule())
    own = sign.read(tmp_path)
    assert own is not None
    assert own.ended is not None
    assert (own.ended.how, own.ended.text) == (how, text)


@pytest.mark.parametrize(("code", "how"), [(75, "stopped"), (130, "interrupted"), (0, "short")])
def test_what_has_not_seen_all_samples_is_not_done(state: State, tmp_path: Path, code: int, how: str) -> None:
    preempt = Preempt()
    preempt.code = code
    state.setup(trainer(), LightningModule(), "fit")
    state.on_train_batch_end(trainer(), LightningModule(), {}, batch(0), 0)
    state.on_train_end(trainer(preempt), LightningModule())
    own = sign.read(tmp_path)
    assert own is not None
    assert own.ended is not None
    assert own.ended.how == how


def test_other_ranks_write_nothing(state: State, tmp_path: Path) -> None:
    state.setup(trainer(first=False), LightningModule(), "fit")
    state.on_train_end(trainer(first=False), LightningModule())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_costs_training_nothing(state: State, tmp_path: Path) -> None:
    state.folder = tmp_path / "none"
    state.setup(trainer(), LightningModule(), "fit")
    state.on_train_end(trainer(), LightningModule())
    assert list(tmp_path.iterdir()) == []


def test_the_job_is_named_as_slurm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "14")
    assert job() == "14"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert job() == "12_2"


def test_the_command_is_that_of_the_process_that_was_given_it() -> None:
    own = command(None)
    assert own is not None
    assert "pytest" in own or "-c" in own
    assert command(os.getpid()) == own
