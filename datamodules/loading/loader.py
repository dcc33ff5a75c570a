"""The loader: planned micro-batches become batches in worker processes; bad samples are counted, and too many stop.

- What a decoder in C may do to its process ends that process alone (guard.py). The samples that were out are then tried
  one by one in processes of their own; those that end theirs too are bad samples, and new processes take up the rest.
- Workers send pixels as bytes and latents as they are stored; they become float32 on the device.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

import torch

from datamodules.loading.crew import EndedError, answers
from datamodules.loading.guard import Guard, culprits
from datamodules.loading.room import Empty, plain
from datamodules.order.packs import Pack
from datamodules.order.steps import Micro
from dit_video import log
from dit_video.errors import DataError

LEAST_SEEN = 1000  # samples before a share of bad ones means anything
SILENT = 30.0  # seconds after which they are reported
GIVEN_UP = 600.0  # seconds after which they are started again, before the parent of the ranks (launch/watch.py) does so
PAUSE = 1.0  # seconds times the deaths so far, before new ones are started where no sample is to blame
DEATHS = 3  # of workers, without a sample to blame and without a batch in between, that end a run


class Bad(NamedTuple):
    """A sample that could not be read: its place among those of a micro-batch, its key, and why."""

    place: int
    key: str
    reason: str


class Loaded(NamedTuple):
    """What a worker has made of the samples of a micro-batch, as small as it can be sent, and those that are bad."""

    made: torch.Tensor
    bad: tuple[Bad, ...] = ()


class Loader(Protocol):
    """What makes the batches: `make` in a worker, `finish` of what it has made on the device."""

    @property
    def guard(self) -> Guard:
        """What a sample may cost."""
        ...

    def make(self, packs: Sequence[Pack], *, empty: Empty = plain) -> Loaded:
        """What is read of the samples of packs; `empty` makes the tensor."""
        ...

    def finish(self, made: torch.Tensor, micro: Micro, bad: Sequence[Bad]) -> Any:
        """The batch of a micro-batch as tasks take it."""
        ...

    def without(self, refused: Mapping[int, str]) -> Self:
        """The same, but for which the rows `refused` are damaged, for the reasons given."""
        ...


class Batches:
    """Micro-batches of a loader, with bad samples logged and counted; past `max_bad_fraction` the run stops.

    `waited` counts the seconds for which the training waited for data.
    """

    def __init__(
        self,
        loader: Loader,
        micros: Iterable[Micro],
        *,
        workers: int,
        max_bad_fraction: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.loader, self.micros, self.device = loader, micros, device
        self.workers, self.max_bad_fraction = workers, max_bad_fraction
        self.bad = self.seen = 0
        self.waited = 0.0
        self.moving: deque[tuple[torch.cuda.Event, torch.Tensor]] = deque()

    def __iter__(self) -> Iterator[Any]:
        if self.workers:
            source = Fleet(loader=self.loader, micros=iter(self.micros), workers=self.workers).batches()
        else:
            source = ((micro, self.loader.make(micro.packs)) for micro in self.micros)
        while True:
            since = time.perf_counter()
            found = next(source, None)
            if found is None:
                return
            micro, (made, bad) = found
            self.count(sum(len(pack.items) for pack in micro.packs), bad)
            batch = self.loader.finish(self.moved(made), micro, bad)
            del found, made  # the memory that it came in is free when the next one is asked for
            self.waited += time.perf_counter() - since
            yield batch

    def moved(self, made: torch.Tensor) -> torch.Tensor:
        """On the device, without a wait; it is kept until it is there, as its memory is another answer's after that."""
        while self.moving and self.moving[0][0].query():
            self.moving.popleft()
        moved = made.to(self.device, non_blocking=True)
        if moved.device.type == "cuda" and moved is not made:
            there = torch.cuda.Event()
            there.record(torch.cuda.current_stream(moved.device))
            self.moving.append((there, made))
        return moved

    def count(self, samples: int, bad: Sequence[Bad]) -> None:
        """Count bad samples; DataError where there are too many."""
        self.seen += samples
        self.bad += len(bad)
        for _, key, reason in bad:
            log.get("dit_video.datamodules").warning("sample %s is damaged and gets weight 0: %s", key, reason)
        if self.bad > self.max_bad_fraction * max(self.seen, LEAST_SEEN):
            raise DataError(
                f"{self.bad} of {self.seen} samples are damaged, more than datamodules.max_bad_fraction="
                f"{self.max_bad_fraction:g}; curate the dataset again"
            )


class SilentError(Exception):
    """No worker has answered for too long."""


@dataclass
class Fleet:
    """Worker processes over the micro-batches to come; `out` are those that they have been given."""

    loader: Loader
    micros: Iterator[Micro]
    workers: int
    out: deque[Micro] = field(default_factory=deque)
    deaths: int = 0

    def batches(self) -> Iterator[tuple[Micro, Loaded]]:
        """Every micro-batch in order with what was made of it, whatever becomes of the processes."""
        while True:
            try:
                yield from self.crew()
            except (EndedError, SilentError) as error:
                self.recover(str(error))
            else:
                return

    def crew(self) -> Iterator[tuple[Micro, Loaded]]:
        """Those of one set of processes, until it ends."""
        work = partial(make, self.loader)
        for loaded in answers(work, self.given(), workers=self.workers, guard=self.loader.guard, silent=self.report):
            self.deaths = 0
            yield self.out.popleft(), loaded
            del loaded

    def given(self) -> Iterator[tuple[Pack, ...]]:
        """What the processes are given: first what others have left undone."""
        yield from [micro.packs for micro in self.out]
        for micro in self.micros:
            self.out.append(micro)
            yield micro.packs

    def report(self, silent: float) -> None:
        """Say that the workers are silent; SilentError when they have been for very long."""
        if silent >= GIVEN_UP:
            raise SilentError(f"no loader process has answered for {silent:.0f} seconds")
        if silent % SILENT == 0:
            text = "waiting for data: step %d has taken %.0f s so far"
            log.get("dit_video.datamodules").warning(text, self.out[0].place.step, silent)

    def recover(self, what: str) -> None:
        """Find the samples that end their process; DataError where there are none, again and again."""
        self.deaths += 1
        work: dict[int, Callable[[], Any]] = {}
        for micro in self.out:
            work |= {row: partial(self.loader.make, one) for row, one in singles(micro)}
        log.get("dit_video.datamodules").warning("%s; trying %d samples one by one", what, len(work))
        found = culprits(work, self.loader.guard)
        if not found and self.deaths >= DEATHS:
            at = f"at step {self.out[0].place.step}" if self.out else "before the first step"
            raise DataError(
                f"loader processes ended {self.deaths} times {at}, of no sample's fault ({what}); "
                "there may be too little memory: lower datamodules.workers"
            )
        if not found:
            time.sleep(PAUSE * self.deaths)
        self.loader = self.loader.without(found)


def singles(micro: Micro) -> Iterator[tuple[int, tuple[Pack]]]:
    """A pack of each sample alone, by its row."""
    for pack in micro.packs:
        for item in pack.items:
            yield item.row, (pack._replace(items=(item,)),)


def make(loader: Loader, packs: tuple[Pack, ...], empty: Empty) -> Loaded:
    """The work of a process."""
    return loader.make(packs, empty=empty)
