"""Reads that take long are reported while they still do: a read of a disk that hangs never comes to tell itself."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dit_video import log

SLOW = 30.0  # seconds
OFTEN = 60.0  # least seconds between two reports of a process
TICK = 1.0  # seconds between two looks


class Stalls:
    """Watches the reads of one process from a thread that ends when nothing is read.

    Args:
        slow: seconds after which a read is reported, once.
        tick: seconds between two looks.
    """

    def __init__(self, *, slow: float = SLOW, tick: float = TICK) -> None:
        self.slow, self.tick = slow, tick
        self.reading: tuple[str, float] | None = None
        self.watcher: threading.Thread | None = None
        self.process = os.getpid()
        self.told = -OFTEN

    @contextmanager
    def watch(self, what: str) -> Iterator[None]:
        """Report `what` if the block takes long."""
        self.reading = what, time.monotonic()
        if self.watcher is None or self.process != os.getpid():
            self.process = os.getpid()
            self.watcher = threading.Thread(target=self._look, name="stalls", daemon=True)
            self.watcher.start()
        try:
            yield
        finally:
            self.reading = None

    def _look(self) -> None:
        reported: tuple[str, float] | None = None
        idle = False
        while True:
            now = self.reading
            if now is None and idle:
                self.watcher = None
                if self.reading is None:  # else a read has begun meanwhile, and may have seen this thread
                    return
            idle = now is None
            if now is not None and now is not reported and time.monotonic() - now[1] > self.slow:
                reported = now
                self._tell(*now)
            time.sleep(self.tick)

    def _tell(self, what: str, since: float) -> None:
        now = time.monotonic()
        if now - self.told > OFTEN:
            self.told = now
            text = "slow storage: reading %s has taken %.0f s so far"
            log.get("dit_video.datamodules").warning(text, what, now - since)
