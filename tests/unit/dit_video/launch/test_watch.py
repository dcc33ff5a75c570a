"""When ranks hang, by counters and a clock of the test's own."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Any

import pytest

from dit_video.launch import watch
from dit_video.launch.heartbeat import Beat
from dit_video.launch.watch import Clock, Watchdog


@dataclass
class Shown:
    """A rank as the watchdog sees it."""

    number: int
    shown: Beat

    def beat(self) -> Beat:
        """What it last wrote."""
        return self.shown


def look(dog: Watchdog, now: float, *beats: Beat, waiting: bool = False) -> Any:
    """What the watchdog finds at `now`."""
    return dog.look([Shown(n, beat) for n, beat in enumerate(beats)], now=now, waiting=waiting)  # type: ignore[misc]


def beat(beats: int, marks: int, phase: str = "step", step: int = 5) -> Beat:
    """A rank that has completed four steps."""
    return Beat(beats, marks, phase, step, 4)


def test_a_rank_that_does_not_beat_is_frozen() -> None:
    dog = Watchdog(silence=10.0, patience=0.0, whole=True)
    assert look(dog, 0.0, beat(1, 1), beat(1, 1)) is None
    assert look(dog, 9.0, beat(9, 9), beat(1, 1)) is None
    found = look(dog, 10.5, beat(10, 10), beat(1, 1))
    assert found.frozen == (1,)
    assert look(dog, 11.0, beat(11, 11), beat(1, 1), waiting=True).frozen == (1,)


def test_ranks_that_do_not_go_on_are_stuck() -> None:
    dog = Watchdog(silence=10.0, patience=0.0, whole=True)
    for now in range(11):
        assert look(dog, float(now), beat(now, 1), beat(now, 1)) is None
    assert look(dog, 10.5, beat(20, 1), beat(20, 1), waiting=True) is None
    assert look(dog, 10.5, beat(20, 1), beat(20, 1)).frozen == ()


@pytest.mark.parametrize("phase", ["start", "data", "save", "show", "end"])
def test_they_may_wait_for_one_that_starts_reads_or_saves(phase: str) -> None:
    dog = Watchdog(silence=20.0, patience=30.0, whole=True)
    for now in range(110):
        assert look(dog, float(now), beat(now, 1), beat(now, 1, phase)) is None
    assert look(dog, 111.0, beat(111, 1), beat(111, 1, phase)) is not None


def test_a_mark_of_any_rank_is_progress() -> None:
    dog = Watchdog(silence=10.0, patience=0.0, whole=True)
    for now in range(100):
        assert look(dog, float(now), beat(now, now), beat(now, 1)) is None


def test_out_of_sight_a_rank_may_be_waiting_for_data() -> None:
    dog = Watchdog(silence=20.0, patience=30.0, whole=False)
    for now in range(110):
        assert look(dog, float(now), beat(now, 1)) is None


def test_without_marks_only_frozen_ranks_are_known() -> None:
    dog = Watchdog(silence=20.0, patience=math.inf, whole=True)
    for now in range(0, 100_000, 10):
        assert look(dog, float(now), Beat(now, 0, "start", 0, 0)) is None
    assert look(dog, 100_100.0, Beat(1, 0, "start", 0, 0)) is None
    assert look(dog, 100_200.0, Beat(1, 0, "start", 0, 0)).frozen == (0,)


def test_a_clock_that_was_asleep_does_not_count_it() -> None:
    clock = Clock()
    clock.last -= 500.0
    assert clock.tick() <= 1.0
    time.sleep(0.02)
    assert 0.0 < clock.tick() < 1.5


def test_the_state_of_a_process_is_a_letter() -> None:
    assert watch.state(os.getpid()) == "R"
    assert watch.state(2**30) == ""


def test_a_rank_is_quiet_in_a_step_that_does_not_end_and_in_nothing_else() -> None:
    dog = Watchdog(silence=10.0, patience=0.0, whole=False)
    assert not dog.quiet(99.0)  # nothing was seen yet
    for now in range(12):
        assert look(dog, float(now), beat(now, 1)) is None
    assert (dog.quiet(10.0), dog.quiet(10.5)) == (False, True)
    look(dog, 12.0, beat(12, 2))
    assert not dog.quiet(12.5)
    look(dog, 13.0, beat(13, 3, "data"))
    assert not dog.quiet(99.0)


def test_where_all_ranks_of_a_job_are_quiet_it_is_a_hang_at_once() -> None:
    dog = Watchdog(silence=10.0, patience=300.0, whole=False)
    for now in range(20):
        assert look(dog, float(now), beat(now, 1)) is None
    dog.whole = True  # as the parents of all ranks have said
    assert look(dog, 20.0, beat(20, 1)) is not None
