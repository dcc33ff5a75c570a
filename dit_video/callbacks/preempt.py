"""A signal to stop loses nothing: the step in progress is finished and saved, and the exit code says: requeue.

The handler only sets a flag (a checkpoint inside a handler deadlocks with collectives); ranks agree on it at the
end of a step, so that one signal to one rank stops all of them at the same step. A second ctrl-C stops at once.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dit_video.batch import ClipBatch, PackBatch

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
REQUEUE, INTERRUPTED = 75, 130


class Preempt(Callback):
    """Stops the run at the end of the step in which one of `SIGNALS` came; `stopped` and `code` tell train.py."""

    def __init__(self) -> None:
        self.flag = False
        self.stopped = False
        self.code = REQUEUE
        self.before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which has installed its own handlers by now."""
        self.before = {number: signal.signal(number, self.handle) for number in SIGNALS}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Set the flag and return; say so where a person waits at the keyboard."""
        self.flag = True
        if number == signal.SIGINT:
            self.code = INTERRUPTED
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.write(2, b"\nstopping when this step is saved; ctrl-C again to stop at once\n")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """At the end of a step: if any rank has the flag, all stop; callbacks.checkpoint saves as training ends."""
        if batch.place.micro == batch.place.micros - 1 and self.agreed(pl_module.device):
            self.stopped = trainer.should_stop = True

    def agreed(self, device: torch.device) -> bool:
        """Whether any rank has been signalled."""
        if not (dist.is_available() and dist.is_initialized()):
            return self.flag
        flag = torch.tensor(int(self.flag), device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}


def fit(trainer: Trainer, task: LightningModule, *, datamodule: LightningDataModule) -> int:
    """Train, and return the exit code: 0, or what a signal to stop asks for. KeyboardInterrupt is for the caller."""
    try:
        trainer.fit(task, datamodule=datamodule)
    except SIGTERMException:  # it came before `Preempt` listened; the first step is not worth a checkpoint
        return REQUEUE
    except SystemExit as stop:  # Lightning makes exit code 1 of ctrl-C
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    return max((item.code for item in trainer.callbacks if isinstance(item, Preempt) and item.stopped), default=0)
