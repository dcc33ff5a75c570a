"""Signals become bytes while they are listened to, and what they were before afterwards."""

from __future__ import annotations

import os
import signal
import time

import pytest

from dit_video.launch.listen import HEARD, Signals


def test_signals_are_told_once_and_handlers_given_back() -> None:
    before = [signal.getsignal(number) for number in HEARD]
    with Signals() as signals:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert signals.wait(5.0) == [signal.SIGTERM, signal.SIGINT, signal.SIGTERM]
        assert signals.wait(0.0) == []
    assert [signal.getsignal(number) for number in HEARD] == before


def test_what_was_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.wait(0.05) == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_child_that_ends_and_a_pipe_wake_it() -> None:
    reader, writer = os.pipe()
    with Signals() as signals:
        began = time.monotonic()
        os.write(writer, b"x")
        assert signals.wait(60.0, pipes=[reader]) == []
        os.read(reader, 1)
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
        assert signals.wait(60.0, pipes=[reader]) == []
        assert time.monotonic() - began < 30.0
    os.close(reader)
    os.close(writer)
