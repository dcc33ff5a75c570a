"""Measures how much a second of training gets done, all ranks together."""

from __future__ import annotations

import time
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch


@runtime_checkable
class Waiting(Protocol):
    """A loader that knows how long it was waited for."""

    waited: float  # seconds since it was made


class Throughput(Callback):
    """Measures a step's `samples_per_second`, and `tokens_per_second` (packs) or `frames_per_second` (clips).

    Where the loader says how long it was waited for, `data_wait` is that share of the step's time, on this rank.
    """

    def __init__(self) -> None:
        self.since = time.perf_counter()
        self.samples_seen: int | None = None
        self.amount = 0
        self.waited = 0.0
        self.rates: dict[str, float] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Count the micro-batch; close the account when the step is complete."""
        unit, amount = size(batch)
        self.amount += amount
        place = batch.place
        if place.micro < place.micros - 1:
            return
        now = time.perf_counter()
        seconds = max(now - self.since, 1e-9)
        self.rates = {f"{unit}_per_second": self.amount * trainer.world_size / seconds}
        if self.samples_seen is not None:
            self.rates["samples_per_second"] = (place.samples_seen - self.samples_seen) / seconds
        if isinstance(loader := trainer.train_dataloader, Waiting):
            if self.samples_seen is not None:
                self.rates["data_wait"] = (loader.waited - self.waited) / seconds
            self.waited = loader.waited
        self.since, self.samples_seen, self.amount = now, place.samples_seen, 0

    def measures(self) -> dict[str, float]:
        """The last step's rates."""
        return self.rates


def size(batch: ClipBatch | PackBatch) -> tuple[str, int]:
    """What a batch is counted in, and how much of it there is on this rank."""
    if isinstance(batch, PackBatch):
        return "tokens", len(batch.data)
    return "frames", batch.video.shape[0] * batch.video.shape[2]
