"""Stops before an update that is not finite, on all ranks at once, and names the samples it came from."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from dit_video.batch import ClipBatch, PackBatch
from dit_video.errors import UserError


class Finite(Callback):
    """Checks the loss and the gradients' norm after the backward pass; measures `grad_norm` (before clipping)."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.loss: Tensor | float = 0.0
        self.norm = 0.0
        self.step = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Note which samples the step is made of."""
        if batch.place.micro == 0:
            self.keys, self.loss = [], 0.0
        self.keys += [key for key in batch.keys if key]
        self.step = batch.place.step + 1

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Add up the losses of the step's micro-batches."""
        self.loss = self.loss + loss.detach()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Raise UserError before the update if any rank's loss or gradient is not finite."""
        norm = gradient_norm(optimizer)
        figures = torch.stack([torch.as_tensor(self.loss, device=norm.device).float(), norm.float()])
        bad = (~torch.isfinite(figures)).any().int()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(bad, op=dist.ReduceOp.MAX)
        loss, self.norm = figures.tolist()
        if bad.item():
            raise UserError(
                f"step {self.step}: the loss is {loss:g} and the gradient's norm {self.norm:g} on rank "
                f"{trainer.global_rank}; nothing was updated. Samples: {' '.join(self.keys)}. "
                "Lower optim.lr, or take these samples out"
            )

    def measures(self) -> dict[str, Any]:
        """The norm of the step's gradient."""
        return {"grad_norm": self.norm}


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Euclidean norm of all gradients an optimizer is about to use."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    full: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return full
