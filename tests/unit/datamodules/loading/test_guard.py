from __future__ import annotations

import ctypes
import faulthandler
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from datamodules.loading.guard import Guard, culprits


def hang(guard: Guard) -> None:
    """As a decoder in C: Python runs no handler meanwhile."""
    with guard.sample():
        ctypes.PyDLL(None).sleep(30)


def crash() -> None:
    faulthandler.disable()
    ctypes.string_at(0)


def eat() -> None:
    np.ones(2**30, np.uint8)


def wrong() -> None:
    raise RuntimeError("a bug")


def test_samples_that_end_their_process_are_told_from_the_rest(capfd: pytest.CaptureFixture[str]) -> None:
    guard = Guard(seconds=0.2, memory_gb=0.5)
    since = time.monotonic()
    work: dict[int, Callable[[], object]] = {1: int, 4: partial(hang, guard), 7: crash, 8: eat, 9: wrong}
    found = culprits(work, guard)
    assert time.monotonic() - since < 20
    assert found == {
        4: "decoding it took more than 0.2 seconds",
        7: "decoding it ended its process (SIGSEGV)",
        8: "decoding it took more than 0.5 GB of memory",
    }
    assert "Traceback" not in capfd.readouterr().err


def test_outside_of_a_loader_process_nothing_is_limited() -> None:
    guard = Guard(seconds=0.01)
    with guard.sample():
        time.sleep(0.05)
