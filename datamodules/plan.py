"""The plan of a run, shared by both datamodules: rows that take part, streams, packs, steps, and their loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from datamodules.captions import Captions
from datamodules.order import Order
from datamodules.packs import Item, Pack
from datamodules.steps import Micro, Step, share, steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_SEEN = 1000  # samples before a share of bad ones means anything

Measure = Callable[[int, "NDArray[np.int64]", int], Iterable[Item]]
"""`measure(stream, rows, ordinal)`: the items of `rows`, whose first has this ordinal in the stream."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides which samples make which micro-batch: a pure function of the index and the config."""

    order: Order
    measure: Measure
    packer: Callable[[Iterable[Item], int], Iterator[Pack]]
    packs: int
    micro: int
    window: int
    seed: int

    def items(self, stream: int) -> Iterator[Item]:
        """Samples of a stream with their ordinals and costs, without end."""
        ordinal = 0
        for rows in self.order.stream(stream):
            yield from self.measure(stream, rows, ordinal)
            ordinal += len(rows)

    def steps(self, first: int = 0) -> Iterator[Step]:
        """Steps from `first` on."""
        streams = [self.packer(self.items(stream), stream) for stream in range(self.order.streams)]
        return islice(steps(streams, packs=self.packs, window=self.window, seed=self.seed), first, None)

    def run(self, *, step: int, samples: int) -> Iterator[Step]:
        """Steps from `step` on until `samples` samples are seen."""
        before = 0
        for number, found in enumerate(self.steps()):
            if before >= samples:
                return
            before = found.samples_seen
            if number >= step:
                yield found


@dataclass(frozen=True, kw_only=True)
class Micros:
    """A sampler: what to load, in order, for one rank. Made in the main process, so workers have no state."""

    plan: Plan
    captions: Captions
    step: int
    samples: int
    rank: int
    ranks: int

    def __iter__(self) -> Iterator[Micro]:
        for step in self.plan.run(step=self.step, samples=self.samples):
            for micro in share(step, micro=self.plan.micro, rank=self.rank, ranks=self.ranks):
                yield replace(micro, captions=self.choose(micro.packs))

    def choose(self, packs: Iterable[Pack]) -> tuple[str, ...]:
        """The caption of each item, pack after pack."""
        return tuple(
            self.captions.choose(item.row, stream=pack.stream, ordinal=item.ordinal)
            for pack in packs
            for item in pack.items
        )
