"""Processes that are given tasks and answer in the order of the tasks, each held to what a sample may cost (guard.py).

- Each has a pipe of its own: one that ends in the midst of an answer takes no other's with it.
- Each has tasks in hand while another is asked for. The tensors of an answer are in shared memory (room.py).
- A process that ends, ends the crew: what has no answer yet is for the caller to give to another.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import pickle
import select
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

import torch

from datamodules.loading.guard import Guard, ending
from datamodules.loading.room import Empty, Room, by_value, plain
from dit_video.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

AHEAD = 2  # tasks that a process has in hand
KEPT = 3  # answers that whoever asked may keep before tensors go by value
TICK = 5.0  # seconds between two looks at silent processes
LARGE = 2**15  # bytes of a task that are sent only when its process has nothing else to do: both would send, for ever
PARENT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)

Work = Callable[[Any, Empty], Any]
"""`work(task, empty)` is the answer; tensors made by `empty` need no copy. What it raises, who awaits it does"""


class EndedError(Exception):
    """A process of a crew has ended."""


@dataclass(frozen=True)
class Raised:
    """What a task has raised."""

    error: Exception


@dataclass
class Mate:
    """A process, the end of its pipe, and what has come through it too early."""

    end: Finalize
    pipe: Connection
    ready: select.poll
    early: deque[bytes] = field(default_factory=deque)
    busy: int = 0

    def send(self, task: bytes) -> None:
        """Give it a task; EndedError where it has ended."""
        try:
            while self.busy > len(self.early) and len(task) > LARGE:
                self.early.append(self.pipe.recv_bytes())
            self.pipe.send_bytes(task)
        except (EOFError, OSError) as error:
            raise EndedError("a loader process has ended") from error
        self.busy += 1

    def receive(self, silent: Callable[[float], object]) -> bytes:
        """Its next answer; EndedError where it has ended. `silent` is told of the seconds without one."""
        waited = 0.0
        self.busy -= 1
        if self.early:
            return self.early.popleft()
        while not self.ready.poll(1000 * TICK):
            waited += TICK
            silent(waited)
        try:
            return self.pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise EndedError("a loader process has ended") from error


def answers(
    work: Work,
    tasks: Iterator[Any],
    *,
    workers: int,
    guard: Guard,
    silent: Callable[[float], object] = bool,
    ahead: int = AHEAD,
) -> Iterator[Any]:
    """The answer to every task in order; EndedError where a process ends, and what `silent` raises when none comes.

    Args:
        work: what a process does with a task.
        tasks: taken a little ahead.
        workers: how many processes.
        guard: what a task may cost.
        silent: told, now and then, for how many seconds no answer has come.
        ahead: tasks that each process has in hand.
    """
    rooms = [Room() for _ in range(workers * ahead + KEPT)]
    free, given = deque(range(len(rooms))), deque[tuple[Mate, int | None]]()
    mates: list[Mate] = []
    try:
        mates += [hired(work, rooms, guard) for _ in range(workers)]
        turns = (mate for _ in range(ahead) for mate in mates)
        for mate in turns:
            assign(mate, tasks, free, given)
        while given:
            mate, room = given.popleft()
            message = mate.receive(silent)
            assign(mate, tasks, free, given)
            answer = (
                pickle.loads(message)  # noqa: S301 from a process of ours
                if room is None
                else rooms[room].opened(message, partial(free.append, room))
            )
            if isinstance(answer, Raised):
                raise answer.error
            yield answer
            del answer
    finally:
        for mate in mates:
            mate.end()
            mate.pipe.close()
        for open_room in rooms:
            open_room.file.close()


def assign(mate: Mate, tasks: Iterator[Any], free: deque[int], given: deque[tuple[Mate, int | None]]) -> None:
    """Give a process the next task, if there is one, and a room for its answer, if one is free."""
    for task in tasks:
        room = free.pop() if free else None  # the one that was used last, which is still in the cache
        mate.send(pickle.dumps((room, task), protocol=5))
        given.append((mate, room))
        return


def hired(work: Work, rooms: Sequence[Room], guard: Guard) -> Mate:
    """A new process of a crew."""
    context = multiprocessing.get_context("fork")
    mine, its = context.Pipe()
    process = context.Process(target=serve, args=(its, work, rooms, guard), name="loader", daemon=True)
    process.start()
    its.close()  # so that the end of the process is the end of the pipe
    ready = select.poll()
    ready.register(mine.fileno(), select.POLLIN)
    return Mate(Finalize(None, ended, args=(process,), exitpriority=0), mine, ready)


def ended(process: ForkProcess) -> None:
    """End a process; one that is stopped, or sits in C, ends in no other way."""
    process.kill()
    process.join()


def serve(pipe: Connection, work: Work, rooms: Sequence[Room], guard: Guard) -> None:
    """What a process does: task after task, until it is ended."""
    enter(guard)
    while True:
        number, task = pickle.loads(pipe.recv_bytes())  # noqa: S301 from the process that started this one
        room = None if number is None else rooms[number]
        if room is not None:
            room.begin()
        with ending():
            answer = answered(work, task, plain if room is None else room.empty)
            message = by_value(answer) if room is None else room.packed(answer)
        pipe.send_bytes(message)


def answered(work: Work, task: Any, empty: Empty) -> Any:
    """The answer to a task, or what it has raised: with where, unless it is a user's mistake."""
    try:
        return work(task, empty)
    except MemoryError:
        raise
    except UserError as error:
        return Raised(error)
    except Exception as error:
        where = traceback.format_exc()
        try:
            error.add_note(f"in a loader process: {where}")
            pickle.loads(pickle.dumps(error))  # noqa: S301 our own
        except Exception:
            return Raised(RuntimeError(where))
        return Raised(error)


def enter(guard: Guard) -> None:
    """Workers are processes already: nothing starts threads in them, and a signal to stop is for the run to heed."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":  # else one that waits for a task outlives a run that is killed
        ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGKILL)
    guard.enter()
