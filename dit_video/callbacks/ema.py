"""Keeps the average of the weights that sampling uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.batch import ClipBatch, PackBatch
from dit_video.callbacks.finite import Finite
from dit_video.errors import ConfigError
from dit_video.optim import ema


class Ema(Callback):
    """Averages `task.averaged()` after every step; half-life in samples, shorter while the run is young."""

    def __init__(self, *, half_life: int, ramp: float = 0.05) -> None:
        if half_life < 1 or ramp < 0:
            raise ConfigError(f"callbacks.ema needs half_life >= 1 and ramp >= 0, got {half_life} and {ramp:g}")
        self.half_life, self.ramp = half_life, ramp
        self.ema: ema.Ema | None = None
        self.samples_seen = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the averages as copies of the weights; a checkpoint is read into them later."""
        averaged = {id(p) for p in getattr(pl_module, "averaged", pl_module.trained)().values()}
        named = {name: p for name, p in pl_module.named_parameters() if id(p) in averaged}
        self.ema = ema.Ema(named, half_life=self.half_life, ramp=self.ramp)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Move the averages when the step is complete, and was learnt from."""
        place = batch.place
        if place.micro < place.micros - 1 or self.ema is None:
            return
        finite = [item for item in trainer.callbacks if isinstance(item, Finite)]  # type: ignore[attr-defined]
        if all(item.left_out != place.step + 1 for item in finite):
            self.ema.update(samples=place.samples_seen - self.samples_seen, samples_seen=place.samples_seen)
        self.samples_seen = place.samples_seen

    def tensors(self, pl_module: LightningModule) -> dict[str, Tensor]:
        """The averages under the names of the task's parameters, shared ones under each of their names."""
        assert self.ema is not None
        by_parameter = {id(p): self.ema.averages[name] for name, p in self.ema.parameters.items()}
        named = pl_module.named_parameters(remove_duplicate=False)
        return {name: by_parameter[id(p)] for name, p in named if id(p) in by_parameter}

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within this context the task's parameters hold the averages."""
        assert self.ema is not None
        with self.ema.swapped():
            yield
