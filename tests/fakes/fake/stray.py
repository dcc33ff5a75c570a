"""Faults of one rank that the others must notice: a flipped bit in its memory, and data of another place."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.batch import ClipBatch, PackBatch
from dit_video.callbacks.ema import Ema
from fake.datamodule import FakeData


class Flip(Callback):
    """Flips a bit of one number of `what` on `rank`, once `step` steps are done."""

    def __init__(
        self, *, step: int, rank: int = 1, what: Literal["weights", "averages", "optimizer"] = "weights"
    ) -> None:
        self.step, self.rank, self.what = step, rank, what

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> Any:
        """Now."""
        if trainer.global_rank != self.rank or batch.place.micro or batch.place.step != self.step:
            return
        tensor = self.target(trainer, pl_module)
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        with torch.no_grad():
            local.view(torch.int32).flatten()[:1].bitwise_xor_(1 << 20)

    def target(self, trainer: Trainer, task: LightningModule) -> Tensor:
        """A tensor of what is flipped."""
        if self.what == "weights":
            return next(task.parameters()).detach()
        if self.what == "averages":
            ema = next(item.ema for item in trainer.callbacks if isinstance(item, Ema))  # type: ignore[attr-defined]
            return next(iter(ema.averages.values()))
        state = next(iter(trainer.optimizers[0].state.values()))
        return next(value for value in state.values() if value.ndim)


class StrayData(FakeData):
    """Data of which rank `stray` is `ahead` steps ahead of the others."""

    def __init__(self, *, stray: int = 1, ahead: int = 1, micros: int = 2) -> None:
        super().__init__(micros=micros)
        self.stray, self.ahead = stray, ahead

    def begin(self, step: int, samples: int, rank: int, ranks: int) -> None:
        """As FakeData, but for the stray one."""
        super().begin(step + self.ahead * (rank == self.stray), samples, rank, ranks)
