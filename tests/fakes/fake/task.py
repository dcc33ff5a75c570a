"""A linear denoiser with dropout: enough to show any bit that a resume would lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dit_video.batch import ClipBatch
from dit_video.tasks.task import Task


class FakeNet(nn.Sequential):
    """Two layers, each a unit of sharding."""

    def blocks(self) -> list[nn.Module]:
        """The linear layers."""
        return [module for module in self if isinstance(module, nn.Linear)]

    def initialise(self) -> None:
        """Torch's own values."""
        for block in self.blocks():
            block.reset_parameters()  # type: ignore[operator]


class FakeTask(Task):
    """Keeps the contract: `trained`, `configure_optimizers`, and a loss weighted over the whole step."""

    def __init__(self, *, optim: Callable[..., torch.optim.Optimizer], width: int = 8) -> None:
        super().__init__()
        self.optim, self.width = optim, width

    def build(self) -> None:
        """The net."""
        self.net = FakeNet(nn.Linear(48, self.width), nn.Dropout(0.1), nn.Linear(self.width, 48))

    def trained(self) -> dict[str, nn.Parameter]:
        """All of it."""
        return dict(self.net.named_parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """From the factory."""
        return self.optim(self.trained().items())

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Any]:
        """Reconstruct the pixels."""
        pixels = batch.video.flatten(1)
        share = (self.net(pixels) - pixels).square().mean(1).mul(batch.weight).sum() / batch.place.step_weight
        scale = batch.place.micros * self.trainer.world_size
        return {"loss": share * scale, "metrics": {"loss": share.detach()}}
