"""Writes down what a training really consumed, batch by batch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import PackBatch


class Record(Callback):
    """Appends step, samples seen, key, source and caption of every sample to a CSV file."""

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PackBatch, batch_idx: int
    ) -> Any:
        """Once a micro-batch; padding has no key."""
        place = batch.place
        with self.path.open("a", newline="", encoding="utf-8") as file:
            for key, source, caption in zip(batch.keys, batch.sources, batch.captions, strict=True):
                if key:
                    csv.writer(file).writerow([place.step, place.samples_seen, key, source, caption])
