"""A rank that fails in the midst of a step, and the time at which the run has gone on."""

from __future__ import annotations

import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.batch import ClipBatch
from fake import faults


class Crash(Callback):
    """`kind` of `fake.faults` before the backward pass of `step` (from 1) on `rank`: once, or with `always` ever again.

    `folder` gets the file "failed" with the time of it, and "recovered" when a step is complete again.
    """

    def __init__(self, *, kind: str, step: int, rank: int, folder: str, always: bool = False) -> None:
        self.kind, self.at, self.rank, self.always = kind, step, rank, always
        self.failed, self.recovered = Path(folder) / "failed", Path(folder) / "recovered"
        self.step = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch, batch_idx: int
    ) -> None:
        """Note where the run is."""
        self.step = batch.place.step + 1

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Now."""
        if (self.step, trainer.global_rank) == (self.at, self.rank):
            faults.fail_once(self.kind, marker=None if self.always else self.failed)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: ClipBatch, batch_idx: int
    ) -> None:
        """The first step that is complete after it."""
        complete = batch.place.micro == batch.place.micros - 1 and trainer.global_rank == 0
        if complete and self.failed.exists() and not self.recovered.exists():
            self.recovered.write_text(str(time.time()), encoding="utf-8")
