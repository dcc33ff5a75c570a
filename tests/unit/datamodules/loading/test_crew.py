from __future__ import annotations

import multiprocessing as mp
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.loading import crew
from datamodules.loading.crew import AHEAD, KEPT, LARGE, EndedError, answers
from datamodules.loading.guard import Guard
from datamodules.loading.room import Empty, plain
from dit_video.errors import DataError

ROOT = Path(__file__).resolve().parents[4]


def square(task: int, empty: Empty) -> tuple[int, torch.Tensor]:
    made = empty((100,), dtype=torch.int64)
    made[:] = task * task
    return os.getpid(), made


def some(work: Any, tasks: Any, *, workers: int = 2) -> Iterator[Any]:
    return answers(work, iter(tasks), workers=workers, guard=Guard())


@pytest.mark.parametrize("workers", [1, 3])
def test_answers_come_in_order_and_may_all_be_kept(workers: int) -> None:
    found = list(some(square, range(40), workers=workers))  # far more than there are rooms
    assert len({pid for pid, _ in found}) == workers
    assert [made.unique().tolist() for _, made in found] == [[task * task] for task in range(40)]
    assert list(some(square, [], workers=workers)) == []


def test_answers_that_are_not_kept_come_in_the_same_few_rooms() -> None:
    rooms = {made.data_ptr() for _, made in some(square, range(60))}
    assert len(rooms) <= 2 * AHEAD + KEPT


def test_as_many_as_may_be_kept_need_no_copy() -> None:
    def work(task: int, empty: Empty) -> tuple[bool, torch.Tensor]:
        return empty is plain, empty((task + 1,), dtype=torch.uint8)

    kept: deque[torch.Tensor] = deque(maxlen=KEPT)
    copied = []
    for by_value, made in some(work, range(30)):
        kept.append(made)
        copied.append(by_value)
    assert not any(copied)


def test_tasks_are_taken_a_little_ahead() -> None:
    taken: list[int] = []
    found = some(square, (taken.append(task) or task for task in range(20)))
    next(found)
    assert taken == list(range(2 * AHEAD + 1))
    found.close()


def test_large_tasks_and_large_answers_do_not_wait_for_each_other() -> None:
    def echo(task: bytes, empty: Empty) -> bytes:
        return task + bytes(10 * LARGE)

    found = some(echo, [bytes([at]) * 10 * LARGE for at in range(8)])
    assert [answer[0] for answer in found] == list(range(8))


def test_many_small_tasks_and_large_answers_do_not_wait_for_each_other() -> None:
    def work(task: int, empty: Empty) -> torch.Tensor:
        made = empty((LARGE,), dtype=torch.int64)
        made[:] = task
        return made

    def never(seconds: float) -> None:
        assert seconds < 30, "both send, and neither reads"

    found = list(answers(work, iter(range(500)), workers=1, guard=Guard(), silent=never, ahead=200))  # all kept
    assert [int(made[0]) for made in found] == list(range(500))


def test_a_process_that_ends_ends_the_crew_and_leaves_no_other() -> None:
    def work(task: int, empty: Empty) -> int:
        if task == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    found = some(work, range(9))
    assert [next(found) for _ in range(5)] == list(range(5))
    with pytest.raises(EndedError):
        next(found)
    assert not mp.active_children()


class OddError(Exception):
    def __init__(self, one: int, two: int) -> None:  # cannot be pickled
        super().__init__("odd")


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("a bug"), ValueError), (DataError("lost"), DataError), (OddError(1, 2), RuntimeError)],
)
def test_what_a_task_raises_is_raised_here(error: Exception, kind: type[Exception]) -> None:
    def work(task: int, empty: Empty) -> int:
        if task == 3:
            raise error
        return task

    found = some(work, range(9))
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(kind) as caught:
        next(found)
    where = [*getattr(caught.value, "__notes__", []), str(caught.value)]
    assert any("in work" in text for text in where) == (kind is not DataError), "a user's mistake is one line"


def test_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "TICK", 0.05)
    told: list[float] = []

    def slow(task: int, empty: Empty) -> int:
        time.sleep(0.3)
        return task

    assert list(answers(slow, iter([1]), workers=1, guard=Guard(), silent=told.append)) == [1]
    assert told[:3] == pytest.approx([0.05, 0.1, 0.15])


class TooLongError(TimeoutError):
    pass


def impatient(seconds: float) -> None:
    if seconds > 0.3:
        raise TooLongError


def test_silence_is_told_under_a_large_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "TICK", 0.05)

    def hang(task: bytes, empty: Empty) -> None:
        time.sleep(60)

    with pytest.raises(TooLongError):
        next(answers(hang, iter([bytes(10 * LARGE)] * 4), workers=1, guard=Guard(), silent=impatient))
    assert not mp.active_children()


def test_silence_is_told_in_the_midst_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "TICK", 0.05)

    def large(task: int, empty: Empty) -> bytes:
        return bytes(20_000_000)

    found = answers(large, iter(range(3)), workers=1, guard=Guard(), silent=impatient)
    next(found)
    time.sleep(0.3)  # by now the next one is half sent
    os.kill(mp.active_children()[0].pid or 0, signal.SIGSTOP)
    with pytest.raises(TooLongError):
        next(found)
    assert not mp.active_children()


def test_a_process_that_cannot_be_had_leaves_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, forked = os.fork, [0]

    def some_forks() -> int:
        forked[0] += 1
        if forked[0] == 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", some_forks)
    with pytest.raises(EndedError, match="cannot be started"):
        next(some(square, range(9), workers=4))
    assert forked == [3]
    assert not mp.active_children()


def test_a_program_that_ends_in_the_midst_leaves_no_process() -> None:
    program = """
        from datamodules.loading.crew import answers
        from datamodules.loading.guard import Guard
        import multiprocessing
        def work(task, empty):
            return task
        found = answers(work, iter(range(9)), workers=2, guard=Guard())
        next(found)
        print(*(process.pid for process in multiprocessing.active_children()))
        keep = [found]
        keep.append(keep)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        check=True,
    )
    pids = ended.stdout.split()
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not ended.stderr
