"""Signs of life are read as they were written, and are nothing where nobody watches."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dit_video.launch import heartbeat, stacks
from dit_video.launch.heartbeat import Beat, Heartbeat


@pytest.fixture
def heart(tmp_path: Path) -> Iterator[Heartbeat]:
    """One that beats."""
    made = Heartbeat(tmp_path, rank=3)
    made.begin()
    yield made
    made.ended.set()
    made.thread.join()
    faulthandler.unregister(signal.SIGUSR2)
    faulthandler.enable(file=sys.__stderr__)
    made.stacks.close()


def test_marks_are_read_by_another(heart: Heartbeat, tmp_path: Path) -> None:
    path = heartbeat.beat_file(tmp_path, 3)
    first = heartbeat.read(path)
    assert (first.phase, first.step, first.done) == ("start", 0, 0)
    heart.mark("step", 7)
    heart.completed(7)
    heart.mark("data")
    now = heartbeat.read(path)
    assert (now.phase, now.step, now.done, now.marks) == ("data", 7, 1, first.marks + 2)


def test_it_beats_by_itself(heart: Heartbeat, tmp_path: Path) -> None:
    path = heartbeat.beat_file(tmp_path, 3)
    first, until = heartbeat.read(path).beats, time.monotonic() + 20
    while heartbeat.read(path).beats < first + 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert heartbeat.read(path).beats >= first + 2


def test_a_signal_shows_where_it_stands(heart: Heartbeat, tmp_path: Path) -> None:
    os.kill(os.getpid(), signal.SIGUSR2)
    text = heartbeat.stack_file(tmp_path, 3).read_text(encoding="utf-8")
    assert "in test_a_signal_shows_where_it_stands" in text
    assert "in beat" in text
    assert stacks.main_thread(text)


def test_before_the_first_mark_there_are_zeros(tmp_path: Path) -> None:
    assert heartbeat.read(tmp_path / "nothing") == Beat()


def test_unwatched_it_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(heartbeat.WATCH, raising=False)
    monkeypatch.chdir(tmp_path)
    heartbeat.begin()
    with heartbeat.within("save"):
        heartbeat.mark("step", 1)
        heartbeat.completed(1)
    assert heartbeat.own() is None
    assert not list(tmp_path.iterdir())


def test_within_returns_to_what_was_done_before(
    heart: Heartbeat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_OWN", [heart])
    heartbeat.mark("step", 4)
    path = heartbeat.beat_file(tmp_path, 3)
    with heartbeat.within("save"):
        assert heartbeat.read(path).phase == "save"
    assert (heartbeat.read(path).phase, heartbeat.read(path).step) == ("step", 4)
