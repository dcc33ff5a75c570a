"""A signal to stop loses nothing: the step in progress is finished and saved, and the exit code says: requeue.

The handler only sets a flag (a checkpoint inside a handler deadlocks with collectives); ranks agree on it at the
end of a step, so that one signal to one rank stops all of them at the same step.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempt(Callback):
    """Stops the run at the end of the step in which SIGTERM or SIGUSR1 came; `stopped` tells train.py."""

    def __init__(self) -> None:
        self.flag = False
        self.stopped = False
        self.before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which has installed its own handlers by now."""
        self.before = {number: signal.signal(number, self.handle) for number in SIGNALS}

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Set the flag and return."""
        self.flag = True

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
