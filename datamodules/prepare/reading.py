"""Samples read in worker processes, in order; one that ends its process, or hangs in it, is a damaged sample."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from datamodules.loading.crew import EndedError, answers
from datamodules.loading.guard import Guard, culprits
from datamodules.loading.room import Empty, plain
from dit_video import log
from dit_video.errors import DataError, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

DEATHS = 3  # of workers, without a sample to blame and without one read in between, that end the step


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Reads the pixels of a row by its number, uint8 (t, h, w, 3); UserError where they cannot be had.

    `read` holds what it decodes under `guard.sample`, and nothing else: a disk that stalls is no sample's fault.
    """

    read: Callable[[int], Pixels]
    guard: Guard


@dataclass(kw_only=True)
class Reading:
    """Rows of `source`, read by `workers` processes (0: this one, unprotected); `out` are those that they are given.

    Args:
        rows: what reads one.
        source: their numbers, in order; taken a little ahead.
        workers: processes.
        ahead: rows that each has in hand.
    """

    rows: Rows
    source: Iterable[int]
    workers: int
    ahead: int = 2
    out: deque[int] = field(default_factory=deque)

    def __iter__(self) -> Iterator[tuple[int, Pixels | UserError]]:
        waiting, deaths = iter(self.source), 0
        while True:
            try:
                for row, found in self.crew(waiting):
                    self.out.popleft()
                    deaths = 0
                    yield row, found if isinstance(found, UserError) else found.numpy()
            except EndedError:
                deaths += 1
            else:
                return
            log.get("dit_video.datamodules").warning("a reader has ended; trying %d samples one by one", len(self.out))
            bad = culprits({row: partial(self.rows.read, row) for row in self.out}, self.rows.guard)
            if not bad and deaths >= DEATHS:
                raise DataError(f"readers ended {deaths} times, of no sample's fault; is there memory for workers=?")
            self.out = deque(row for row in self.out if row not in bad)
            for row, reason in bad.items():
                yield row, DataError(reason)

    def crew(self, waiting: Iterator[int]) -> Iterator[tuple[int, torch.Tensor | UserError]]:
        """Rows as one set of processes reads them; EndedError where one of these ends."""
        given = self.given(waiting)
        if not self.workers:
            yield from (answer(self.rows, row, plain) for row in given)
            return
        work = partial(answer, self.rows)
        yield from answers(work, given, workers=self.workers, guard=self.rows.guard, ahead=self.ahead)

    def given(self, waiting: Iterator[int]) -> Iterator[int]:
        """What the processes are given: first what others have left undone."""
        yield from list(self.out)
        for row in waiting:
            self.out.append(row)
            yield row


def answer(rows: Rows, row: int, empty: Empty) -> tuple[int, torch.Tensor | UserError]:
    """A row's pixels, or why they cannot be had."""
    del empty
    try:
        return row, torch.from_numpy(rows.read(row))
    except UserError as error:
        return row, error
