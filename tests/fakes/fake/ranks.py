"""Runs a function as the ranks of a gloo group, for tests: started in tenths of a second, by a fork server.

- A rank that fails ends the others; its traceback, or the signal that killed it, is the test's failure.
- Past the time limit the stacks of all ranks are shown, and the ranks killed.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import inspect
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fake import server

GRACE = 0.3  # seconds in which a rank that was killed may still show beside one that failed for it


@dataclass
class Rank:
    """A process of the group, and what it has told."""

    process: Any
    told: Connection
    answer: tuple[bool, Any] | None = None  # whether it did, and its value or traceback

    def listen(self) -> None:
        """Take its answer, if there is one."""
        if self.answer is None and self.told.poll():
            try:
                self.answer = pickle.loads(self.told.recv_bytes())
            except EOFError:
                self.process.join(5)

    @property
    def failed(self) -> bool:
        """Whether it raised, or ended without an answer."""
        return not self.answer[0] if self.answer else self.process.exitcode is not None


def run_ranks(function: Callable[..., Any], world_size: int, *args: Any, seconds: float = 60.0) -> list[Any]:
    """Call `function(rank, *args)`, of the top level of a module, in `world_size` gloo processes.

    Returns what it returned, by rank; AssertionError where one of them fails, or the limit of `seconds` is over.
    """
    context = server.ready()
    place = (str(inspect.getfile(function)), function.__module__, function.__qualname__)
    with tempfile.TemporaryDirectory(prefix="ranks") as folder:
        ranks = []
        for number in range(world_size):
            here, there = context.Pipe(duplex=False)
            about = (number, world_size, folder, seconds, place, pickle.dumps(args), there)
            process = context.Process(target=rank_main, args=about, name=f"rank {number}")
            process.start()
            there.close()
            ranks.append(Rank(process, here))
        try:
            watch(ranks, Path(folder), until=time.monotonic() + seconds)
        finally:
            end(ranks)
    return [rank.answer[1] for rank in ranks if rank.answer]


def watch(ranks: list[Rank], folder: Path, *, until: float) -> None:
    """Wait for all answers; AssertionError with the first failure."""
    while any(rank.answer is None for rank in ranks):
        waited = [item for rank in ranks if rank.answer is None for item in (rank.told, rank.process.sentinel)]
        if not wait(waited, timeout=max(until - time.monotonic(), 0.0)):
            raise AssertionError("the ranks hang\n" + stacks(ranks, folder))
        for rank in ranks:
            rank.listen()
        failed = [number for number, rank in enumerate(ranks) if rank.failed]
        if failed:
            time.sleep(GRACE)
            raise AssertionError(blame(ranks, failed[0]))


def blame(ranks: list[Rank], first: int) -> str:
    """Which rank failed, and how: one that was killed before one that raised for it."""
    for number, rank in enumerate(ranks):
        code = rank.process.exitcode
        if rank.answer is None and code is not None and code < 0:
            return f"rank {number} was ended by {signal.Signals(-code).name}"
    answer = ranks[first].answer
    return f"rank {first}\n{answer[1]}" if answer else f"rank {first} ended with {ranks[first].process.exitcode}"


def stacks(ranks: list[Rank], folder: Path) -> str:
    """Where every rank that has not answered stands."""
    silent = [number for number, rank in enumerate(ranks) if rank.answer is None]
    for number in silent:
        os.kill(ranks[number].process.pid, signal.SIGUSR2)
    time.sleep(GRACE)
    files = {number: folder / f"stack{number}" for number in silent}
    return "\n".join(f"rank {number}:\n{file.read_text() if file.exists() else ''}" for number, file in files.items())


def end(ranks: list[Rank]) -> None:
    """No rank outlives the test."""
    answered = all(rank.answer and rank.answer[0] for rank in ranks)
    for rank in ranks:
        if not answered:
            rank.process.kill()
        rank.process.join(10)
        if rank.process.exitcode is None:
            rank.process.kill()
            rank.process.join()
        rank.told.close()


def rank_main(
    rank: int,
    world_size: int,
    folder: str,
    seconds: float,
    place: tuple[str, str, str],
    args: bytes,
    told: Connection,
) -> None:
    """In the process of a rank."""
    with (Path(folder) / f"stack{rank}").open("w") as file:
        faulthandler.register(signal.SIGUSR2, file=file, all_threads=True)
        try:
            answer = (True, grouped(rank, world_size, folder, seconds, place, args))
        except BaseException:
            answer = (False, traceback.format_exc())
        told.send_bytes(pickle.dumps(answer))
        faulthandler.unregister(signal.SIGUSR2)


def grouped(rank: int, world_size: int, folder: str, seconds: float, place: tuple[str, str, str], args: bytes) -> Any:
    """What the function returns within the group."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size}.items():
        os.environ[name] = str(value)
    function = found(*place)
    limit = timedelta(seconds=seconds)
    meet = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=world_size, timeout=limit)
    value = function(rank, *pickle.loads(args))
    if dist.is_initialized():  # a failure leaves the group as it is: the others shall not fail before it is told
        dist.barrier()
        dist.destroy_process_group()
    return value


def found(file: str, module: str, name: str) -> Callable[..., Any]:
    """The function of a module that may be a test file, whose name pytest has made up."""
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
    return getattr(sys.modules[module], name)
