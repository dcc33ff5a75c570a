"""Signals to stop, as a flag: whoever trains looks at it where stopping costs nothing.

A handler that saves, or talks to other processes, deadlocks: it runs in the midst of whatever the process is doing.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

REQUEUE, BAD_NODE, INTERRUPTED = 75, 76, 130
STOPPING = (signal.SIGTERM, signal.SIGUSR1)


class Listener:
    """Turns signals into `code`, the exit code that they ask for; 0 is none, and the highest counts."""

    def __init__(self) -> None:
        self.code = 0
        self.process = os.getpid()

    def listen(self, *numbers: signal.Signals) -> None:
        """Take over these signals, until the process ends: one that comes while it ends must not change its code."""
        self.process = os.getpid()
        for number in numbers:
            signal.signal(number, self.handle)

    def leave(self, *numbers: signal.Signals) -> None:
        """Give these signals back to the system: nobody looks at the flag. One that has come ends the process now."""
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        if self.code and numbers:
            os.kill(os.getpid(), numbers[0])

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Set the flag and return; a process forked from the one that listens is ended as ever."""
        del frame
        if os.getpid() != self.process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif number == signal.SIGINT:
            self.code = INTERRUPTED
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if os.environ.get("RANK", "0") == "0":
                os.write(2, b"\nstopping when this step is saved; ctrl-C again to stop at once\n")
        else:
            self.code = max(self.code, REQUEUE)


LISTENER = Listener()
"""The one of this process."""
