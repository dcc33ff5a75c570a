"""Processes that are given tasks and answer in the order of the tasks, each held to what a sample may cost (guard.py).

- Each has a pipe of its own: one that ends in the midst of an answer takes no other's with it.
- Each has tasks in hand while another is asked for. The tensors of an answer are in shared memory (room.py).
- A process that ends, ends the crew: what has no answer yet is for the caller to give to another.
"""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from datamodules.loading.guard import Guard, ending, prelude
from datamodules.loading.pipe import Pipe, Silent, pipe
from datamodules.loading.room import Empty, Room, by_value, plain
from dit_video.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

AHEAD = 2  # tasks that a process has in hand
KEPT = 3  # answers that whoever asked may keep before tensors go by value
TICK = 5.0  # seconds between two looks at silent processes
LARGE = 2**15  # bytes of a task that are sent only when its process has nothing else to do: both would send, for ever;
# so it is with many small ones that it has not read yet

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
    pipe: Pipe
    early: deque[bytearray] = field(default_factory=deque)
    busy: int = 0

    def send(self, task: bytes, silent: Silent) -> None:
        """Give it a task; EndedError where it has ended. `silent` is told of the seconds in which it takes none."""
        with passing():
            while self.busy > len(self.early) and (len(task) > LARGE or not self.pipe.free()):
                self.early.append(self.pipe.receive(silent=silent))
            self.pipe.send(task, silent=silent)
        self.busy += 1

    def receive(self, silent: Silent) -> bytearray:
        """Its next answer; EndedError where it has ended. `silent` is told of the seconds in which nothing comes."""
        self.busy -= 1
        if self.early:
            return self.early.popleft()
        with passing():
            return self.pipe.receive(silent=silent)


@contextmanager
def passing() -> Iterator[None]:
    """A block in which the other end of a pipe may be closed: EndedError."""
    try:
        yield
    except EOFError as error:
        raise EndedError("a loader process has ended") from error


def answers(
    work: Work,
    tasks: Iterator[Any],
    *,
    workers: int,
    guard: Guard,
    silent: Silent = bool,
    ahead: int = AHEAD,
) -> Iterator[Any]:
    """The answer to every task in order; EndedError where a process ends or cannot be had, and what `silent` raises.

    Args:
        work: what a process does with a task.
        tasks: taken a little ahead.
        workers: how many processes.
        guard: what a task may cost.
        silent: told, now and then, for how many seconds the process whose turn it is has taken and sent nothing.
        ahead: tasks that each process has in hand.
    """
    rooms = [Room() for _ in range(workers * ahead + 1 + KEPT)]  # what has just come has one too
    free, given = deque(range(len(rooms))), deque[tuple[Mate, int | None]]()
    mates: list[Mate] = []
    try:
        for _ in range(workers):
            mates.append(hired(work, rooms, guard))  # one by one: if the next cannot be had, those that are there end
        turns = (mate for _ in range(ahead) for mate in mates)
        for mate in turns:
            assign(mate, tasks, free, given, silent)
        while given:
            mate, room = given.popleft()
            message = mate.receive(silent)
            assign(mate, tasks, free, given, silent)
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


def assign(
    mate: Mate, tasks: Iterator[Any], free: deque[int], given: deque[tuple[Mate, int | None]], silent: Silent
) -> None:
    """Give a process the next task, if there is one, and a room for its answer, if one is free."""
    for task in tasks:
        room = free.pop() if free else None  # the one that was used last, which is still in the cache
        mate.send(pickle.dumps((room, task), protocol=5), silent)
        given.append((mate, room))
        return


def hired(work: Work, rooms: Sequence[Room], guard: Guard) -> Mate:
    """A new process of a crew; EndedError where the system has none to give."""
    context = multiprocessing.get_context("fork")
    try:
        mine, its = pipe(tick=TICK)
        with closing(its), ExitStack() as undo:  # the end of the process is to be the end of the pipe
            undo.callback(mine.close)
            process = context.Process(target=serve, args=(its, work, rooms, prelude(guard)), name="loader", daemon=True)
            process.start()
            undo.pop_all()
    except OSError as error:
        raise EndedError(f"a loader process cannot be started: {error}") from error
    return Mate(Finalize(None, ended, args=(process,), exitpriority=0), mine)


def ended(process: ForkProcess) -> None:
    """End a process; one that is stopped, or sits in C, ends in no other way."""
    process.kill()
    process.join()


def serve(pipe: Pipe, work: Work, rooms: Sequence[Room], first: Callable[[], None]) -> None:
    """What a process does: task after task, until it is ended."""
    first()
    while True:
        number, task = pickle.loads(pipe.receive())  # noqa: S301 from the process that started this one
        room = None if number is None else rooms[number]
        if room is not None:
            room.begin()
        with ending():
            answer = answered(work, task, plain if room is None else room.empty)
            message = by_value(answer) if room is None else room.packed(answer)
        pipe.send(message)


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
