"""Tells the parent what this rank is doing, so that a hang is known from work: see `dit_video.launch`."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch
from dit_video.launch import heartbeat, report


class Heartbeat(Callback):
    """Marks the phases of a rank; the last callback, so that all that the others do at a step's end is of the step.

    The first step is of the start: memory is reserved in it, and blocks are compiled.
    """

    def __init__(self) -> None:
        self.begun = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Every micro-batch is a sign of progress."""
        heartbeat.mark("step" if self.begun else "start", batch.place.step + 1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """The step is complete with its last micro-batch; then data is waited for."""
        if batch.place.micro == batch.place.micros - 1:
            self.begun = True
            heartbeat.completed(batch.place.step + 1)
            heartbeat.mark("data")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is left is to save and to close."""
        heartbeat.mark("save")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write it down before anything is torn down: that may wait for ranks that are gone."""
        report.write(exception)
