"""Keeps torch's own generator a function of the place in the run: dropout is the same after a resume."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch
from dit_video.seeds import seed_for


class Reseed(Callback):
    """Seeds the global generators of torch before every micro-batch, by (seed, step, micro-batch, rank)."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Seed by the batch's place."""
        place = batch.place
        torch.manual_seed(seed_for(self.seed, "step", place.step, place.micro, trainer.global_rank))
