"""Sets the learning rate of every step: the optimizer's base rate times its schedule of samples seen."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch


class Schedule(Callback):
    """Applies `optimizer.schedule`; an optimizer without one keeps its rate."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Set the rates by the batch's place: at step s the samples up to and including s are counted."""
        for optimizer in trainer.optimizers:
            schedule = getattr(optimizer, "schedule", None)
            if schedule is None:
                continue
            factor = schedule(batch.place.samples_seen)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
