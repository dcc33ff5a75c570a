"""Writes down what a run has in memory right after it has read a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed.tensor import DTensor

from dit_video.callbacks.checkpoint import state


class Echo(Callback):
    """Writes all tensors of a run, whole again, to `path` as training starts; it comes after callbacks.checkpoint."""

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All ranks gather, the first one writes."""
        found = {}
        for part, named in state(trainer, pl_module).items():
            for name, value in named.items():
                full = value.full_tensor() if isinstance(value, DTensor) else value
                found[f"{part}.{name}"] = full.detach().cpu().clone()
        if trainer.is_global_zero:
            torch.save(found, self.path)
