"""Makes a run as slow as a file says, so that something can happen to it in the midst of its steps."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch


class Pace(Callback):
    """Sleeps before each step for the seconds in the file at `path`; none where there is no such file."""

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """On every rank."""
        if batch.place.micro == 0:
            with suppress(FileNotFoundError, ValueError):
                time.sleep(float(self.path.read_text(encoding="utf-8")))
