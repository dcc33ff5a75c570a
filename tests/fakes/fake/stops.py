"""Signals to stop, sent to any ranks at any moment of a run, and what must come of each."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from dit_video import checkpoint
from dit_video.batch import ClipBatch, PackBatch
from fake import forked, kills

Moment = Literal["start", "forward", "update", "save", "end"]
MOMENTS: tuple[Moment, ...] = ("start", "forward", "update", "save", "end")
STEPS, EACH, RANKS = 10, 4, 2  # steps of the run, samples of a step, ranks; saved every other step
ARGUMENTS = (
    "tasks._target_=fake.task.FakeTask",
    "tasks.optim=${optim}",
    "datamodules._target_=fake.datamodule.FakeData",
    "optim.schedule.warmup=4",
    "run.name=a",
    f"run.samples={STEPS * EACH}",
    f"run.every_samples={2 * EACH}",
    "logger=csv",
    "trainer=cpu2",
)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """`name`s of signals to `ranks`, one after the other, at a moment of `step` (from 1)."""

    names: tuple[str, ...]
    ranks: tuple[int, ...]
    moment: Moment
    step: int = 5

    @property
    def code(self) -> int:
        """The exit code that is due: the run is complete when its last save is made."""
        return 0 if self.moment == "end" else 75

    @property
    def steps(self) -> int:
        """How many steps are saved then: the one in progress, or the next where it is just over."""
        if self.moment == "end":
            return STEPS
        return 0 if self.moment == "start" else self.step + (self.moment == "save")


class Signals(Callback):
    """Sends them to this process, if its rank is among them."""

    def __init__(self, *, names: list[str], ranks: list[int], moment: str, step: int) -> None:
        self.names, self.ranks, self.moment, self.step = names, ranks, moment, step
        self.now = False

    def send(self, trainer: Trainer, moment: str) -> None:
        """Send all of them, if this is the moment."""
        if moment == self.moment and trainer.global_rank in self.ranks:
            for name in self.names:
                os.kill(os.getpid(), getattr(signal, name))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first step."""
        self.send(trainer, "start")

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> Any:
        """Whether this is the step."""
        self.now = batch.place.step + 1 == self.step and batch.place.micro == 0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """In the midst of it."""
        if self.now:
            self.send(trainer, "forward")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Between the gradients and the update."""
        if self.step * 2 == trainer.fit_loop.epoch_loop.batch_progress.current.ready:
            self.send(trainer, "update")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """While the step is saved."""
        if batch.place.step + 1 == self.step and batch.place.micro == batch.place.micros - 1:
            self.send(trainer, "save")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """While the last step is saved, or just after."""
        self.send(trainer, "end")


def every() -> Iterator[Stop]:
    """Both signals, once, twice and one after the other, to each single rank and to all, at every moment."""
    names = (("SIGTERM",), ("SIGUSR1",), ("SIGTERM", "SIGTERM"), ("SIGUSR1", "SIGTERM"))
    for sent, ranks, moment in product(names, ((0,), (1,), (0, 1)), MOMENTS):
        yield Stop(names=sent, ranks=ranks, moment=moment, step=6 if moment == "save" else 5)


def check(stop: Stop, folder: Path, oracle: Path) -> None:
    """One stop and the run that goes on from it; AssertionError where anything is not as it should be."""
    names, ranks = "[" + ",".join(stop.names) + "]", "[" + ",".join(map(str, stop.ranks)) + "]"
    about = f"names: {names}, ranks: {ranks}, moment: {stop.moment}, step: {stop.step}"
    running = forked.launch(
        folder, [*ARGUMENTS, f"callbacks.signals={{_target_: fake.stops.Signals, {about}}}"], ranks=RANKS
    )
    stderr = running.done(100).stderr
    assert running.codes() == [stop.code] * RANKS, f"{stop}: {running.codes()}\n{stderr}"
    checkpoints = folder / kills.RUN / "checkpoints"
    newest = checkpoint.latest(checkpoints)
    assert (checkpoint.progress(newest).step if newest else 0) == stop.steps, f"{stop}: {newest}"
    assert not list(checkpoints.glob(".*.part")), f"{stop}: a save is left unfinished"
    if stop.code:
        assert (resumed := forked.start(folder, ARGUMENTS, ranks=RANKS)).returncode == 0, resumed.stderr
    assert not (other := list(kills.differences(folder, oracle))), f"{stop}: {other}"


def tried(stops: Iterable[Stop], folder: Path) -> dict[str, Any]:
    """How many were tried, how many were clean, and what went wrong with the others."""
    oracle = folder / "oracle"
    oracle.mkdir(parents=True, exist_ok=True)
    assert (done := forked.start(oracle, ARGUMENTS, ranks=RANKS)).returncode == 0, done.stderr
    counts: dict[str, Any] = {"tried": 0, "clean": 0, "wrong": []}
    for number, stop in enumerate(stops):
        own = folder / str(number)
        own.mkdir()
        counts["tried"] += 1
        try:
            check(stop, own, oracle)
            counts["clean"] += 1
        except AssertionError as error:
            counts["wrong"].append(str(error))
        shutil.rmtree(own)
    return counts
