"""Sends this process a signal in the middle of a step."""

from __future__ import annotations

import os
import signal

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.callbacks.finite import Finite


class Kill(Callback):
    """The signal comes before the backward pass of `step` (from 0) on `rank`, once."""

    def __init__(self, *, step: int, signal: str, rank: int = 0) -> None:
        self.step, self.signal, self.rank = step, signal, rank

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Now."""
        finite = next(item for item in trainer.callbacks if isinstance(item, Finite))
        if finite.step == self.step + 1 and trainer.global_rank == self.rank:
            os.kill(os.getpid(), getattr(signal, self.signal))
