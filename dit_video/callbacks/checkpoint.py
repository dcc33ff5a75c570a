"""Saves the run, and reads it back where it stood: weights, averages and optimizer, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video import checkpoint
from dit_video.batch import ClipBatch, PackBatch, Place
from dit_video.callbacks.ema import Ema
from dit_video.errors import ConfigError


class Checkpoint(Callback):
    """Saves into `dir`/checkpoints every `every_samples` samples, and at the end; keeps the newest `keep`."""

    def __init__(self, *, dir: str, every_samples: int, keep: int = 2) -> None:  # noqa: A002 - the key is run.dir's
        if keep < 1:
            raise ConfigError(f"callbacks.checkpoint.keep must be at least 1, got {keep}")
        self.run, self.folder = Path(dir), Path(dir) / "checkpoints"
        self.every_samples, self.keep = every_samples, keep
        self.saved = 0
        self.found: Path | None = None
        self.place: Place | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the checkpoint `found`, which train.py has verified, into the live tensors."""
        if self.found is None:
            return
        progress = checkpoint.load(self.found, state(trainer, pl_module))
        self.saved = progress.samples_seen
        for item in averages(trainer):
            item.samples_seen = progress.samples_seen

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Save when the step is complete and the interval is over."""
        if batch.place.micro < batch.place.micros - 1:
            return
        self.place = batch.place
        if self.place.samples_seen // self.every_samples > self.saved // self.every_samples:
            self.save(trainer, pl_module, self.place)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what the last interval has left; an exception does not lead here, so a broken state is never saved."""
        if self.place is not None and self.place.samples_seen > self.saved:
            self.save(trainer, pl_module, self.place)

    def save(self, trainer: Trainer, pl_module: LightningModule, place: Place) -> None:
        """Write the checkpoint of the step that `place` has just completed."""
        checkpoint.save(
            self.folder,
            state(trainer, pl_module),
            config=(self.run / "config.yaml").read_text(encoding="utf-8") if trainer.is_global_zero else "",
            fingerprint=trainer.datamodule.fingerprint,
            step=place.step + 1,
            samples_seen=place.samples_seen,
        )
        self.saved = place.samples_seen
        if trainer.is_global_zero:
            checkpoint.prune(self.folder, keep=self.keep)


def averages(trainer: Trainer) -> list[Ema]:
    """The callback that averages the weights, if the run has one."""
    return [item for item in trainer.callbacks if isinstance(item, Ema)]


def state(trainer: Trainer, pl_module: LightningModule) -> dict[str, dict[str, Tensor]]:
    """The live tensors of a run under their fixed names."""
    return {
        "model": dict(pl_module.state_dict()),
        "ema": {name: value for item in averages(trainer) for name, value in item.tensors(pl_module).items()},
        "optimizer": checkpoint.optimizer_state(trainer.optimizers),
    }
