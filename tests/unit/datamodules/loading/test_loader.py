from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing as mp
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pytest
import torch
from torch import Tensor
from torch.utils.data._utils import signal_handling

from datamodules.loading import crew, guard, loader
from datamodules.loading.guard import Guard
from datamodules.loading.loader import Bad, Batches, Fleet, Loaded
from datamodules.loading.room import Empty, plain
from datamodules.order.packs import Item, Pack
from datamodules.order.steps import Micro
from dit_video.batch import Place
from dit_video.config.run import Run
from dit_video.errors import DataError
from dit_video.launch import watch
from dit_video.launch.heartbeat import Beat

HOARD: list[bytearray] = []


@dataclass(frozen=True)
class Decoder:
    """A loader whose samples are their rows; `faults` says what decoding some of them does to the process."""

    faults: Mapping[int, Callable[[], object]] = field(default_factory=dict)
    every: Callable[[], object] = int
    guard: Guard = field(default_factory=Guard)
    refused: Mapping[int, str] = field(default_factory=dict)

    def make(self, packs: Sequence[Pack], *, empty: Empty = plain) -> Loaded:
        rows = [item.row for pack in packs for item in pack.items]
        bad = tuple(Bad(at, str(row), self.refused[row]) for at, row in enumerate(rows) if row in self.refused)
        for row in rows:
            if row not in self.refused:
                with self.guard.sample():
                    self.every()
                    self.faults.get(row, int)()
        return Loaded(torch.tensor([-1 if row in self.refused else row for row in rows]), bad)

    def finish(self, made: Tensor, micro: Micro, bad: Sequence[Bad]) -> Tensor:
        return made

    def without(self, refused: Mapping[int, str]) -> Self:
        return replace(self, refused={**self.refused, **refused})


def micros(count: int) -> Iterator[Micro]:
    """Two samples each, numbered from 0 on."""
    for at in range(count):
        pack = Pack(stream=0, number=at, items=(Item(row=2 * at, ordinal=0), Item(row=2 * at + 1, ordinal=1)))
        place = Place(step=at, samples_seen=2 * at + 2, micro=0, micros=1, packs=((0, at),), step_weight=2.0)
        yield Micro(place=place, packs=(pack,), captions=("", ""))


def rows(made: Decoder, *, count: int, workers: int) -> list[int]:
    return torch.cat(list(Batches(made, micros(count), workers=workers, max_bad_fraction=0.01))).tolist()


def hang() -> None:
    """As a decoder in C: Python runs no handler meanwhile."""
    ctypes.PyDLL(None).sleep(60)


def crash() -> None:
    faulthandler.disable()
    ctypes.string_at(0)


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "TICK", 0.2)
    monkeypatch.setattr(loader, "PAUSE", 0.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_all_processes_leaves_the_workers_at_work(number: signal.Signals) -> None:
    made = Decoder(every=lambda: os.kill(os.getpid(), number))
    assert rows(made, count=3, workers=1) == [*range(6)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("fault", "reason"), [(hang, "more than 0.3 seconds"), (crash, "SIGSEGV")])
def test_a_sample_that_hangs_or_crashes_is_bad_and_nothing_else_is_lost(
    fault: Callable[[], None], reason: str, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    made = Decoder({3: fault, 12: fault}, guard=Guard(seconds=0.3))
    found = rows(made, count=8, workers=workers)
    assert found == [-1 if row in {3, 12} else row for row in range(16)]
    told = [record.getMessage() for record in caplog.records if "weight 0" in record.getMessage()]
    assert len(told) == 2
    assert all(reason in line for line in told)


def test_a_leak_costs_a_process_now_and_then_but_no_sample() -> None:
    made = Decoder(every=lambda: HOARD.append(bytearray(b"x" * 50_000_000)), guard=Guard(memory_gb=0.35))
    assert rows(made, count=7, workers=1) == [*range(14)]


def test_a_process_that_is_stopped_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loader, "GIVEN_UP", 1.0)

    def stop_once() -> None:
        if not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            os.kill(os.getpid(), signal.SIGSTOP)

    assert rows(Decoder({2: stop_once}), count=4, workers=1) == [*range(8)]
    assert (tmp_path / "stopped").exists()


def test_a_process_that_ends_while_it_sends_is_no_wait_for_ever() -> None:
    class Sender(Decoder):
        def make(self, packs: Sequence[Pack], *, empty: Empty = plain) -> Loaded:
            return Loaded(super().make(packs).made.repeat(2**16))  # more than a pipe holds

    def end() -> None:
        time.sleep(0.3)  # by now the batch before is half sent
        faulthandler.disable()
        os.abort()

    def late(*_: object) -> None:
        raise AssertionError("waiting for ever")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 20)
    try:
        found = []
        for batch in Batches(Sender({6: end}), micros(7), workers=2, max_bad_fraction=0.01):
            found += batch[:2].tolist()
            time.sleep(0.5 if len(found) == 2 else 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found == [-1 if row == 6 else row for row in range(14)]


def test_a_bug_of_ours_in_a_worker_is_told_as_it_is() -> None:
    def bug() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        rows(Decoder({4: bug}), count=4, workers=1)


def test_processes_that_keep_ending_of_no_sample_s_fault_end_the_run() -> None:
    made = Decoder(every=lambda: os._exit(3) if mp.current_process().name == "loader" else 0)
    with pytest.raises(DataError, match=r"ended 3 times at step 0.*datamodules\.workers"):
        rows(made, count=3, workers=1)


def test_what_kills_all_processes_from_outside_ends_the_run_and_blames_no_sample() -> None:
    made = Decoder(every=lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(DataError, match=r"ended 3 times at step 0, of no sample's fault \(a loader"):
        rows(made, count=3, workers=1)


@pytest.mark.parametrize("refused", [1, 100])
def test_processes_that_cannot_be_had_are_asked_for_again(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    fork, forked = os.fork, [0]

    def few_forks() -> int:
        forked[0] += 1
        if forked[0] <= refused:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", few_forks)
    if refused == 1:
        assert rows(Decoder(), count=3, workers=2) == [*range(6)]
        return
    with pytest.raises(DataError, match=r"ended 3 times before the first step.*cannot be started"):
        rows(Decoder(), count=3, workers=2)


def test_silent_processes_are_given_up_before_the_parent_gives_the_run_up() -> None:
    dog = watch.Watchdog(silence=Run.silence, patience=300.0, whole=True)
    allowed = dog.limit(watch.Seen(Beat(phase="data"), 0.0, 0.0))
    assert max(loader.GIVEN_UP, Guard().seconds + guard.READING) < allowed


def test_a_mistake_in_a_worker_stays_one_line() -> None:
    def mistake() -> None:
        raise DataError("all is lost")

    with pytest.raises(DataError, match=r"^all is lost$"):
        rows(Decoder({4: mistake}), count=4, workers=1)


def test_the_time_waited_for_data_is_counted() -> None:
    batches = Batches(Decoder(every=lambda: time.sleep(0.05)), micros(3), workers=0, max_bad_fraction=0.0)
    for _ in batches:
        time.sleep(0.2)
    assert 0.3 <= batches.waited < 0.5


def test_large_and_small_tensors_arrive_as_they_were() -> None:
    sent = [
        torch.arange(6).reshape(2, 3).T,
        torch.ones(2**19),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor([True]),
    ]

    class Sender(Decoder):
        def make(self, packs: Sequence[Pack], *, empty: Empty = plain) -> Loaded:
            return Loaded(sent[packs[0].number])

    found = list(Batches(Sender(), micros(4), workers=1, max_bad_fraction=0.0))
    for given, come in zip(sent, found, strict=True):
        assert given.dtype == come.dtype
        assert torch.equal(given, come)


def test_a_process_that_ends_raises_nothing_in_the_midst_of_other_work() -> None:
    """Torch's handler of SIGCHLD, which any other DataLoader installs for good, would raise wherever Python stands."""
    signal_handling._set_SIGCHLD_handler()
    fleet = Fleet(loader=Decoder(), micros=micros(40), workers=1)
    batches = fleet.crew()
    next(batches)
    mp.active_children()[0].kill()
    for _ in range(20):
        time.sleep(0.01)
    signal_handling._error_if_any_worker_fails()
    batches.close()
