"""Writes down what a training really consumed, batch by batch."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch


class Record(Callback):
    """Appends step, samples seen, key, source, caption, `attempt`, rank and time of every sample to a CSV file.

    Under SLURM the attempt is the number of restarts of the job.
    """

    def __init__(self, *, path: str, attempt: int = 0) -> None:
        self.path = Path(path)
        self.attempt = int(os.environ.get("SLURM_RESTART_COUNT", attempt))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> Any:
        """Once a micro-batch, in one write, so that ranks may share the file; padding has no key."""
        plan = getattr(trainer.strategy, "plan", None)
        if plan is not None and trainer.global_rank % plan.sequence:  # its first rank has the same packs
            return
        place, text = batch.place, io.StringIO()
        sources = batch.sources if isinstance(batch, PackBatch) else batch.keys
        who = (self.attempt, trainer.global_rank, f"{time.time():.4f}")
        for key, source, caption in zip(batch.keys, sources, batch.captions, strict=True):
            if key:
                csv.writer(text).writerow([place.step, place.samples_seen, key, source, caption, *who])
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, text.getvalue().encode())
        os.close(file)
