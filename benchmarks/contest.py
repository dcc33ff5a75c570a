"""Contestants: processes that take turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any


class Contestant:
    """A process that says `ready` when it is, and answers each line that it is given with a line of its own."""

    def __init__(self, *command: str) -> None:
        pipe = subprocess.PIPE
        quiet: dict[str, Any] = {"stderr": subprocess.DEVNULL, "start_new_session": True}
        self.process = subprocess.Popen([*command], stdin=pipe, stdout=pipe, text=True, **quiet)
        self.ready = self.answer() == ["ready"]

    def answer(self) -> list[str]:
        """The next line, word by word; empty where the process has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def ask(self, question: str) -> list[str]:
        """The answer to a line; empty where the process has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{question}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return []
        return self.answer()

    def end(self) -> None:
        """Stop it, and what it has started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
