from __future__ import annotations

import logging
import time

import pytest

from datamodules.files.stalls import Stalls


def until(done: object) -> None:
    for _ in range(500):
        if done():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_a_slow_read_is_reported_once_while_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    stalls = Stalls(slow=0.02, tick=0.005)
    with caplog.at_level(logging.WARNING, "dit_video.datamodules"):
        with stalls.watch("a.tar"):
            until(lambda: caplog.records)
            time.sleep(0.1)
        with stalls.watch("b.tar"):
            time.sleep(0.05)
    assert [record.getMessage().split(" has")[0] for record in caplog.records] == ["slow storage: reading a.tar"]


def test_quick_reads_are_not_and_the_watcher_ends(caplog: pytest.LogCaptureFixture) -> None:
    stalls = Stalls(slow=60, tick=0.005)
    for _ in range(100):
        with stalls.watch("a.tar"):
            pass
    until(lambda: stalls.watcher is None)
    with stalls.watch("a.tar"):
        assert stalls.watcher is not None
    assert not caplog.records
