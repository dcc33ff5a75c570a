"""A sign of life from the run: state.json in its folder says who trains it, how far it is, and at last how it ended.

It is written by a thread every few seconds, and read by `python -m dit_video.runs`. A step costs it the note of three
numbers; a disk that is full or does not answer costs training nothing.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from dit_video.batch import ClipBatch, PackBatch
from dit_video.callbacks.checkpoint import Checkpoint
from dit_video.callbacks.preempt import Preempt
from dit_video.config import mistakes
from dit_video.launch import WATCH
from dit_video.runs import sign
from dit_video.runs.sign import End, Sign
from dit_video.signals import INTERRUPTED

WAIT = 30.0  # seconds that the end waits for a disk


class State(Callback):
    """Writes `dir`/state.json on the first rank; `name` and `samples` are those of the run.

    It stands behind all callbacks that may end the training, so that what it says of the end is the end.
    """

    def __init__(self, *, dir: str, name: str, samples: int) -> None:  # noqa: A002 - the key is run.dir's
        self.folder, self.name, self.samples = Path(dir), name, samples
        self.sign: Sign | None = None
        self.place: tuple[int, int, float] | None = None  # step, samples seen, when
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.keep, name="state", daemon=True)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Say that the run begins, and from where, before the model is made."""
        if not trainer.is_global_zero or self.sign is not None:
            return
        found = [item.found for item in trainer.callbacks if isinstance(item, Checkpoint)]  # type: ignore[attr-defined]
        samples, step = (int(part) for part in found[0].name.split("-")) if found and found[0] is not None else (0, 0)
        parent = os.getppid() if WATCH in os.environ else None
        self.sign = Sign(
            name=self.name,
            kind=type(pl_module).__module__.rpartition(".")[2],
            samples=self.samples,
            host=socket.gethostname(),
            process=os.getpid(),
            parent=sign.identity(parent) if parent is not None else None,
            ranks=trainer.world_size,
            job=job(),
            nodes=os.environ.get("SLURM_JOB_NODELIST"),
            command=command(parent),
            folder=str(Path.cwd()),
            began=time.time(),
            resumed=step,
            step=step,
            samples_seen=samples,
        )
        self.put()
        self.thread.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Note a step that is complete."""
        place = batch.place
        if place.micro == place.micros - 1:
            self.place = (place.step + 1, place.samples_seen, time.time())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All is saved: it is done, or was stopped."""
        code = max((item.code for item in trainer.callbacks if isinstance(item, Preempt)), default=0)  # type: ignore[attr-defined]
        seen = self.place[1] if self.place is not None else 0
        if code:
            self.end(End(how="interrupted" if code == INTERRUPTED else "stopped", time=time.time()))
        elif seen >= self.samples:
            self.end(End(how="done", time=time.time()))
        else:
            text = f"it was ended by a setting of trainer.* at {seen} of {self.samples} samples"
            self.end(End(how="short", time=time.time(), text=text))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say of what the run failed, or that it was stopped before its first step."""
        if isinstance(exception, KeyboardInterrupt):
            self.end(End(how="interrupted", time=time.time()))
        elif isinstance(exception, SIGTERMException):
            self.end(End(how="stopped", time=time.time()))
        else:
            own = mistakes.mistake(exception)
            text = mistakes.line(own or exception)
            said = text if own is not None else f"{type(exception).__name__}: {text}"
            step = f"in step {self.place[0] + 1}, " if self.place is not None and own is None else ""
            self.end(End(how="failed", time=time.time(), text=f"{step}{said}"))

    def end(self, end: End) -> None:
        """The last word; the first one of them counts."""
        if self.sign is None or self.over.is_set():
            return
        self.over.set()
        if self.thread.is_alive():
            self.thread.join(WAIT)
        if not self.thread.is_alive():
            self.sign = replace(self.sign, ended=end)
            self.put()

    def keep(self) -> None:
        """In the thread: a sign of life, until the end."""
        while not self.over.wait(sign.EVERY):
            self.put()

    def put(self) -> None:
        """Write what is known now, if the disk lets it."""
        assert self.sign is not None
        if self.place is not None:
            step, samples, when = self.place
            self.sign = replace(self.sign, step=step, samples_seen=samples, stepped=when)
        with suppress(OSError):
            sign.write(self.folder, self.sign)


def job() -> str | None:
    """SLURM's number of this job, as `scontrol` has it."""
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{element}" if array and element else os.environ.get("SLURM_JOB_ID")


def command(parent: int | None) -> str | None:
    """The command that was given: this process', or that of the parent which has started it."""
    if parent is None:
        return shlex.join(sys.orig_argv)
    try:
        given = Path(f"/proc/{parent}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return None
    return shlex.join(given.removesuffix("\0").split("\0"))
