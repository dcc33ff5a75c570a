"""Writes down what a process spends its time on: beginning, reading and writing checkpoints, each step."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video import checkpoint
from dit_video.batch import ClipBatch, PackBatch
from dit_video.callbacks.checkpoint import Checkpoint


class Clock(Callback):
    """Appends spans (what, from, to, step, process) of the first rank to `path`, one JSON a line; the last callback."""

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)
        self.since = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """From here on reads and saves are timed; the process lives no longer than its run."""
        if not trainer.is_global_zero:
            return
        self.write("begin", began(), began())
        checkpoint.load = self.timed("load", checkpoint.load)
        Checkpoint.save = self.timed("save", Checkpoint.save)  # type: ignore[method-assign]

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its spans written down."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            since = time.time()
            found = function(*args, **kwargs)
            self.write(what, since, time.time())
            return found

        return measured

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """The first step begins here, every other one where the last has ended."""
        self.since = self.since or time.time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """A step is done."""
        if trainer.is_global_zero and batch.place.micro == batch.place.micros - 1:
            now = time.time()
            self.write("step", self.since, now, step=batch.place.step)
            self.since = now

    def write(self, what: str, since: float, until: float, *, step: int = -1) -> None:
        """One line, in one write."""
        line = json.dumps({"what": what, "from": since, "to": until, "step": step, "pid": os.getpid()}) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, line.encode())
        os.close(file)


def began() -> float:
    """When this process was started, in seconds since 1970."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age
