"""Kills a process within any function of the program: in a window, an update, a save, a sampling."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class During(Callback):
    """SIGKILL to all that `rank` has forked, `after` seconds into call number `call` (from 1) of `place`.

    `place` is MODULE:NAME, a function or a method.
    """

    def __init__(self, *, place: str, call: int = 1, after: float = 0.0, rank: int = 0) -> None:
        self.place, self.call, self.after, self.rank = place, call, after, rank
        self.calls = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wrap the function; the process does not live to have it back."""
        if trainer.global_rank != self.rank:
            return
        module, _, path = self.place.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        wrapped = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.call:
                threading.Timer(self.after, os.killpg, (0, signal.SIGKILL)).start()
            return wrapped(*args, **kwargs)

        setattr(owner, name, counted)
