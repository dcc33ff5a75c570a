"""What one sample may cost a loader process: a decoder that hangs or eats memory ends the process, not the run.

- A hang sits in a C library, where Python sees no signal: the alarm's own action, to end the process, still works.
- A process whose memory is used up ends too: what fails next in it is nobody's fault.
- `culprits` finds out which of some samples did it, each in a process of its own, which may die. What ends a process
  from outside, as the kernel does that has no memory left, is no sample's fault.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ctypes import CDLL
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dit_video.launch import heartbeat
from dit_video.launch.group import die_with_parent, libc

READING = 600.0  # seconds for which a sample is waited for beside its decoding
EXHAUSTED = 77  # exit code of a process without memory
FAULTS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL})  # of code in C


@dataclass
class Guard:
    """Limits of a loader process, in force from `enter` on.

    Args:
        seconds: that decoding one sample may take.
        memory_gb: that the process may grow by, in 2^30 bytes.
    """

    seconds: float = 60.0
    memory_gb: float = 8.0
    armed: bool = False

    def enter(self) -> None:
        """Hold the limits in this process from now on."""
        self.armed = True
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        limit_growth(self.memory_gb)

    @contextmanager
    def sample(self) -> Iterator[None]:
        """A block that must end in time, or the process does."""
        if self.armed:
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            yield
        finally:
            if self.armed:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def reason(self, code: int | None) -> str | None:
        """What the exit code of a process says of the sample it was at; None where it says nothing of it."""
        if code == -signal.SIGALRM:
            return f"decoding it took more than {self.seconds:g} seconds"
        if code == EXHAUSTED:
            return f"decoding it took more than {self.memory_gb:g} GB of memory"
        if code and (code > 0 or -code in FAULTS):
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return f"decoding it ended its process ({name})"
        return None


def prelude(guard: Guard) -> Callable[[], None]:
    """What a process that is forked from this one does first."""
    return partial(enter, guard, os.getpid(), libc())


def enter(guard: Guard, parent: int, libc: CDLL | None) -> None:
    """Workers are processes already: nothing starts threads in them, and a signal to stop is for the run to heed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent, libc)  # else one that waits outlives a run that is killed
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    guard.enter()


def limit_growth(gigabytes: float) -> None:
    """Let this process's own memory grow by at most so much (Linux; elsewhere it is not limited)."""
    import resource

    status = Path("/proc/self/status")
    used = re.search(r"VmData:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    if used:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(used[1]) * 1024 + int(gigabytes * 2**30), hard))


@contextmanager
def ending() -> Iterator[None]:
    """A block after which a process that has no memory left is over."""
    try:
        yield
    except MemoryError:
        os._exit(EXHAUSTED)


def culprits(work: Mapping[int, Callable[[], Any]], guard: Guard) -> dict[int, str]:
    """Of samples by row, and what loads each: those that end a process of their own, and why."""
    found: dict[int, str] = {}
    first = prelude(guard)
    for row, load in work.items():
        with heartbeat.within("data"):  # each is a sign of progress to whoever watches
            if reason := guard.reason(tried(load, first, seconds=guard.seconds + READING)):
                found[row] = reason
    return found


def tried(load: Callable[[], Any], first: Callable[[], None], *, seconds: float) -> int | None:
    """The exit code of a process that loads one sample; None where there was none, or it took too long."""
    process = multiprocessing.get_context("fork").Process(target=alone, args=(load, first), daemon=True)
    try:
        process.start()
    except OSError:  # the system has no process to give, which is not the sample's fault
        return None
    process.join(seconds)
    if (code := process.exitcode) is None:  # nor is slow storage
        process.kill()
        process.join()
    return code


def alone(load: Callable[[], Any], first: Callable[[], None]) -> None:
    """Load one sample under the limits."""
    with suppress(Exception):  # what Python can say, the loader process says itself
        first()
        with ending():
            load()
