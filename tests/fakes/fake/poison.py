"""Spoils a step on one rank: its pixels before the forward, or its gradients after the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video.batch import ClipBatch, PackBatch


@dataclass(frozen=True, kw_only=True)
class Dose:
    """What is multiplied by `factor`, in which step (from 1) and on which rank (all of them: -1)."""

    step: int
    factor: float
    rank: int = 0
    where: Literal["batch", "gradient"] = "batch"


class Poison(Callback):
    """Gives each dose once, in the first micro-batch of its step; `factor` may be .nan or .inf."""

    def __init__(self, *, doses: Sequence[Dose]) -> None:
        self.doses = tuple(doses)
        self.now: list[Dose] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> Any:
        """Spoil the batch in place."""
        step = batch.place.step + 1
        due = [dose for dose in self.doses if dose.step == step and dose.rank in {-1, trainer.global_rank}]
        self.now = [dose for dose in due if dose.where == "gradient"]
        for dose in due if batch.place.micro == 0 else ():
            if dose.where == "batch":
                (batch.video if isinstance(batch, ClipBatch) else batch.data).mul_(dose.factor)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Spoil this rank's part of the gradients."""
        for dose in self.now:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    gradient = parameter.grad
                    local = gradient.to_local() if hasattr(gradient, "to_local") else gradient
                    with torch.no_grad():
                        local.mul_(dose.factor)
