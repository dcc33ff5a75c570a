"""Samples read in worker processes, in order; one that ends its process, or hangs in it, is a damaged sample."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.loading.guard import Guard, culprits, ending
from datamodules.loading.loader import ENDED, enter, same, watch
from dit_video import log
from dit_video.errors import DataError, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

DEATHS = 3  # of workers, without a sample to blame and without one read in between, that end the step
TICK = 5.0  # seconds between two looks at workers


@dataclass(frozen=True, kw_only=True)
class Rows(Dataset):
    """Pixels of rows by number, uint8 (t, h, w, 3), or why they cannot be had.

    `read` holds what it decodes under `guard.sample`, and nothing else: a disk that stalls is no sample's fault.
    """

    read: Callable[[int], Pixels]
    guard: Guard

    def __getitem__(self, row: int) -> tuple[int, torch.Tensor | UserError]:
        try:
            with ending():
                return row, torch.from_numpy(self.read(row))
        except UserError as error:
            return row, error


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
            except RuntimeError as error:
                if ENDED not in str(error):
                    raise
            else:
                return
            deaths += 1
            log.get("dit_video.datamodules").warning("a reader has ended; trying %d samples one by one", len(self.out))
            bad = culprits({row: partial(self.rows.__getitem__, row) for row in self.out}, self.rows.guard)
            if not bad and deaths >= DEATHS:
                raise DataError(f"readers ended {deaths} times, of no sample's fault; is there memory for workers=?")
            self.out = deque(row for row in self.out if row not in bad)
            for row, reason in bad.items():
                yield row, DataError(reason)

    def crew(self, waiting: Iterator[int]) -> Iterator[tuple[int, torch.Tensor | UserError]]:
        """Rows as one set of processes reads them; RuntimeError where one of these ends."""
        before = signal.getsignal(signal.SIGCHLD)
        found = iter(
            DataLoader(
                self.rows,
                batch_size=None,
                sampler=self.given(waiting),  # type: ignore[arg-type]
                num_workers=self.workers,
                prefetch_factor=self.ahead if self.workers else None,
                collate_fn=same,
                worker_init_fn=partial(enter, guard=self.rows.guard),
                timeout=TICK if self.workers else 0,
            )
        )
        if self.workers:
            watch(found)
        signal.signal(signal.SIGCHLD, before)  # torch's would raise in the midst of the model's work
        try:
            while (answer := self.awaited(found)) is not None:
                yield answer
        finally:
            for process in getattr(found, "_workers", ()):  # one that sits in C ends in no other way
                process.kill()

    def given(self, waiting: Iterator[int]) -> Iterator[int]:
        """What the processes are given: first what others have left undone."""
        yield from list(self.out)
        for row in waiting:
            self.out.append(row)
            yield row

    def awaited(self, found: Iterator[Any]) -> Any:
        """The next row, None at the end; the guard ends what takes too long."""
        while True:
            try:
                return next(found, None)
            except RuntimeError as error:
                if "DataLoader timed out" not in str(error):
                    raise
