"""Signals to the parent as bytes in a pipe, so that they are read where it waits for everything else."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

HEARD = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class Signals:
    """While it is entered, `HEARD` signals do nothing but to be told by `wait`; those ignored before stay so."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        for end in (self.reader, self.writer):
            os.set_blocking(end, False)
        self.before: dict[signal.Signals, Any] = {}
        self.wakeup = -1

    def __enter__(self) -> Signals:
        """Listen."""
        self.wakeup = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        for number in (*HEARD, signal.SIGCHLD):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self.before[number] = signal.signal(number, nothing)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """As it was before."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self.wakeup)
        os.close(self.reader)
        os.close(self.writer)

    def wait(self, seconds: float, *, pipes: Sequence[int] = ()) -> list[signal.Signals]:
        """Return when a signal comes, a child ends, something can be read of `pipes`, or the time is over."""
        poll = select.poll()  # select() knows files up to 1,023 alone
        for pipe in (self.reader, *pipes):
            poll.register(pipe, select.POLLIN)
        if self.reader not in dict(poll.poll(max(seconds, 0.0) * 1000)):
            return []
        return [signal.Signals(number) for number in os.read(self.reader, 4096) if number in HEARD]


def nothing(number: int, frame: FrameType | None) -> None:
    """The byte in the pipe is enough."""
