from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from dit_video.signals import INTERRUPTED, REQUEUE, STOPPING, Listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    """One that listens to everything; the handlers of pytest come back."""
    numbers = (*STOPPING, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    found = Listener()
    found.listen(*numbers)
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([], 0),
        ([signal.SIGTERM], REQUEUE),
        ([signal.SIGUSR1, signal.SIGTERM], REQUEUE),
        ([signal.SIGINT], INTERRUPTED),
        ([signal.SIGINT, signal.SIGTERM], INTERRUPTED),
    ],
)
def test_a_signal_is_a_flag(listener: Listener, numbers: list[signal.Signals], code: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)
    assert listener.code == code


def test_a_second_interrupt_stops_at_once(listener: Listener) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    assert listener.code == INTERRUPTED
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_nobody_will_look_at_ends_the_process() -> None:
    child = os.fork()
    if not child:
        found = Listener()
        found.listen(*STOPPING)
        os.kill(os.getpid(), signal.SIGUSR1)
        found.leave(*STOPPING)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_a_fork_is_ended_as_ever(listener: Listener) -> None:
    ready, there = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(there, b"x")
            time.sleep(60)
        finally:
            os._exit(0)
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    assert listener.code == 0
    os.close(ready)
    os.close(there)
