"""A signal to stop loses nothing: the step in progress is finished and saved, and the exit code says: requeue.

- The handler only sets a flag; ranks agree on it at the end of a step, so that one signal to one rank stops all of them
  at the same step. Before the first step there is nothing to save, and all stop there.
- The same exchange carries the flags of other callbacks: `Flagging`.
- A second ctrl-C stops at once.
"""

from __future__ import annotations

import signal
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dit_video.batch import ClipBatch, PackBatch
from dit_video.parallel import agree
from dit_video.signals import LISTENER, STOPPING


@runtime_checkable
class Flagging(Protocol):
    """A callback with something that all ranks must know of at the end of a step."""

    def raised(self) -> int:
        """This rank's flag; 0 for nothing."""
        ...

    def agreed(self, flag: int) -> None:
        """Take the highest flag of all ranks; called on all of them at the end of every step."""
        ...


class Preempt(Callback):
    """Stops the run at the end of the step in which a signal to stop came to any rank; `code` tells train.py."""

    def __init__(self) -> None:
        self.code = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to ctrl-C too from here on; stop at once where a signal came while the run was being set up."""
        LISTENER.listen(*STOPPING, signal.SIGINT)
        if self.exchanged(trainer):
            raise SIGTERMException

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """At the end of a step: if any rank has a signal, all stop; callbacks.checkpoint saves as training ends."""
        if batch.place.micro == batch.place.micros - 1 and self.exchanged(trainer):
            trainer.should_stop = True

    def exchanged(self, trainer: Trainer) -> bool:
        """Whether any rank is to stop; every rank's flags are exchanged."""
        flagging = [item for item in trainer.callbacks if isinstance(item, Flagging)]  # type: ignore[attr-defined]
        self.code, *flags = agree.highest([LISTENER.code, *(item.raised() for item in flagging)])
        for item, flag in zip(flagging, flags, strict=True):
            item.agreed(flag)
        return self.code > 0


def fit(trainer: Trainer, task: LightningModule, *, datamodule: LightningDataModule) -> int:
    """Train, and return the exit code: 0, or what a signal to stop asks for. KeyboardInterrupt is for the caller."""
    if any(isinstance(item, Preempt) for item in trainer.callbacks):  # type: ignore[attr-defined]
        LISTENER.listen(*STOPPING)
    trainer._signal_connector.register_signal_handlers = nothing  # type: ignore[method-assign]
    try:
        trainer.fit(task, datamodule=datamodule)
    except SIGTERMException:
        pass
    except SystemExit as stop:  # Lightning makes exit code 1 of ctrl-C
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from None
        raise
    return max((item.code for item in trainer.callbacks if isinstance(item, Preempt)), default=0)  # type: ignore[attr-defined]


def nothing() -> None:
    """In place of Lightning's handlers, which broadcast from within, and hang."""
