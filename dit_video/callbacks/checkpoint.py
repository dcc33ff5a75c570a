"""Saves the run, and reads it back where it stood: weights, averages and optimizer, to the bit.

- A save costs training a copy of the state; a thread writes it. What became of it is agreed on at the end of a step.
- One that fails leaves the ones before, says so, and is tried again at the next interval; after `tries` in a row the
  run stops on all ranks. The last one must succeed.
"""

from __future__ import annotations

from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video import checkpoint, log
from dit_video.batch import ClipBatch, PackBatch, Place
from dit_video.callbacks.ema import Ema
from dit_video.errors import CheckpointError, ConfigError
from dit_video.launch import heartbeat, report
from dit_video.parallel import agree

WELL, FAILED, BUSY = 0, 1, 2  # what a rank says of the save that is under way


@runtime_checkable
class Keeping(Protocol):
    """A callback with something to save."""

    def kept(self) -> dict[str, Tensor]:
        """Live tensors by name, equal on all ranks; a checkpoint is read into them in place."""
        ...


@runtime_checkable
class Confirming(Protocol):
    """A callback that knows whether the state is sound."""

    def confirm(self, trainer: Trainer, pl_module: LightningModule, *, step: int) -> None:
        """Raise on all ranks where what `step` steps have led to must not be saved."""
        ...


class Checkpoint(Callback):
    """Saves into `dir`/checkpoints every `every_samples` samples, and at the end.

    Args:
        dir: folder of the run.
        every_samples: between two saves.
        keep: the newest so many stay.
        keep_every: the first after each multiple of so many samples stays for ever; 0 for none.
        tries: failures in a row after which the run stops.
    """

    def __init__(
        self,
        *,
        dir: str,  # noqa: A002 - the key is run.dir's
        every_samples: int,
        keep: int = 2,
        keep_every: int = 0,
        tries: int = 2,
    ) -> None:
        for name, value, least in (("keep", keep, 1), ("keep_every", keep_every, 0), ("tries", tries, 1)):
            if value < least:
                raise ConfigError(f"callbacks.checkpoint.{name} must be at least {least}, got {value}")
        self.run, self.folder = Path(dir), Path(dir) / "checkpoints"
        self.rule = checkpoint.Rule(keep=keep, keep_every=keep_every)
        self.every_samples, self.tries = every_samples, tries
        self.saver: checkpoint.Saver | None = None
        self.pending: Future[Path] | None = None
        self.begun = self.saved = 0  # samples seen at the last save that was begun, and that is on the disk
        self.failures = 0
        self.config = ""  # of the run, as it began
        self.found: Path | None = None
        self.place: Place | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the checkpoint `found`, which train.py has verified, into the live tensors."""
        self.saver = checkpoint.Saver(self.folder, rule=self.rule)
        if trainer.is_global_zero:
            self.config = (self.run / "config.yaml").read_text(encoding="utf-8")
        if self.found is None:
            return
        progress = checkpoint.load(self.found, state(trainer, pl_module), verified=True)
        self.begun = self.saved = progress.samples_seen
        for item in averages(trainer):
            item.samples_seen = progress.samples_seen

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Begin to save when the step is complete and the interval is over."""
        if batch.place.micro < batch.place.micros - 1:
            return
        self.place = batch.place
        if self.place.samples_seen // self.every_samples > self.begun // self.every_samples:
            self.save(trainer, pl_module, self.place)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what the last interval has left; an exception does not lead here, so a broken state is never saved."""
        self.settle()
        if self.place is not None and self.place.samples_seen > self.saved:
            self.failures = self.tries - 1
            self.save(trainer, pl_module, self.place)
            self.settle()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """What is being written is of a sound step: let it be finished, once the failure is written down."""
        report.write(exception)
        if self.saver is not None:
            with heartbeat.within("save"):
                self.saver.wait(seconds=report.SAVING)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Nothing is written any more."""
        if self.saver is not None:
            self.saver.close()

    def save(self, trainer: Trainer, pl_module: LightningModule, place: Place) -> None:
        """Begin to write the checkpoint of the step that `place` has just completed, once the one before is written."""
        assert self.saver is not None
        self.settle()
        for item in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(item, Confirming):
                item.confirm(trainer, pl_module, step=place.step + 1)
        with heartbeat.within("save"):
            self.pending = self.saver.begin(
                state(trainer, pl_module),
                config=self.config,
                fingerprint=trainer.datamodule.fingerprint,  # type: ignore[attr-defined]
                step=place.step + 1,
                samples_seen=place.samples_seen,
            )
        self.begun = place.samples_seen

    def raised(self) -> int:
        """How the save that is under way stands here; for the exchange at the end of a step."""
        if self.pending is None:
            return WELL
        if not self.pending.done():
            return BUSY
        return FAILED if self.pending.exception() else WELL

    def agreed(self, flag: int) -> None:
        """Take note of a save that has ended on all ranks; CheckpointError on all where too many have failed."""
        if self.pending is None or flag == BUSY:
            return
        failure, self.pending = self.pending.exception(), None
        if flag == WELL:
            self.failures, self.saved = 0, self.begun
            return
        self.failures += 1
        said = failure or f"the checkpoint at {self.begun} samples was not saved; see what another process says"
        if self.failures >= self.tries:
            raise CheckpointError(f"{said}, then the same command goes on")
        log.get("dit_video.callbacks").warning("%s, training goes on, and tries again", said)

    def settle(self) -> None:
        """Wait for the save that is under way, agree with all ranks on what became of it, and take note."""
        if self.pending is None:
            return
        with heartbeat.within("save"):
            wait([self.pending])
        self.agreed(*agree.highest([self.raised()]))


def averages(trainer: Trainer) -> list[Ema]:
    """The callback that averages the weights, if the run has one."""
    return [item for item in trainer.callbacks if isinstance(item, Ema)]  # type: ignore[attr-defined]


def state(trainer: Trainer, pl_module: LightningModule) -> dict[str, dict[str, Tensor]]:
    """The live tensors of a run under their fixed names."""
    keeping = [item for item in trainer.callbacks if isinstance(item, Keeping)]  # type: ignore[attr-defined]
    return {
        "model": dict(pl_module.state_dict()),
        "ema": {name: value for item in averages(trainer) for name, value in item.tensors(pl_module).items()},
        "optimizer": checkpoint.optimizer_state(trainer.optimizers),
        "guard": {name: value for item in keeping for name, value in item.kept().items()},
    }
