"""What may happen to a process in the midst of its work, each kind as the process does it to itself."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

FOREVER = 3600  # seconds


def raise_one() -> None:
    """An exception that nobody expects."""
    raise RuntimeError("boom")


def read_null() -> None:
    """A segmentation fault."""
    ctypes.string_at(0)


def hold_gil() -> None:
    """Waits in C for a lock that it holds itself, without letting go of the GIL."""
    lock = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(lock)


def wait_forever() -> None:
    """Waits for what never comes, and lets other threads run."""
    time.sleep(FOREVER)


def fail_late() -> None:
    """Does nothing, and fails when it is asked for its stacks, which it does not show."""
    faulthandler.unregister(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, lambda number, frame: raise_one())
    wait_forever()


def exhaust_memory() -> None:
    """Asks for more memory than the process may have."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    allowed = pages * resource.getpagesize() + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    held = []
    while True:
        held.append(bytearray(2**26))


def signal_self(number: signal.Signals) -> None:
    """A signal to this process."""
    os.kill(os.getpid(), number)


FAULTS: dict[str, Callable[[], None]] = {
    "kill": lambda: signal_self(signal.SIGKILL),
    "stop": lambda: signal_self(signal.SIGSTOP),
    "gil": hold_gil,
    "hang": wait_forever,
    "late": fail_late,
    "exception": raise_one,
    "segfault": read_null,
    "abort": os.abort,
    "memory": exhaust_memory,
    "exit": lambda: os._exit(3),
    "term": lambda: signal_self(signal.SIGTERM),
}
CAUSES = {  # how each of them is to be named: the kind of cause, and the name of it
    "kill": ("signal", "SIGKILL"),
    "stop": ("stopped", "stopped"),
    "gil": ("frozen", "frozen"),
    "hang": ("stuck", "stuck"),
    "exception": ("exception", "RuntimeError"),
    "segfault": ("signal", "SIGSEGV"),
    "abort": ("signal", "SIGABRT"),
    "memory": ("memory", "MemoryError"),
    "exit": ("exit", "exit code 3"),
}


def fail_once(kind: str, *, marker: Path | None) -> None:
    """Do it, unless it is done already, and leave the time in `marker`; without one, do it every time."""
    if marker is not None:
        if marker.exists():
            return
        marker.write_text(str(time.time()), encoding="utf-8")
    FAULTS[kind]()
