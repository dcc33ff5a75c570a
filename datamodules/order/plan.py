"""The plan of a run, shared by both datamodules: rows that take part, streams, packs and steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from datamodules.dataset.captions import Captions
from datamodules.order.packs import Items, Pack, Packer, Packs, pack
from datamodules.order.steps import Micro, Step, Window, share, windows
from datamodules.order.streams import Order, deal
from dit_video.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.dataset.index import Index

Measure = Callable[[int, "NDArray[np.int64]", int], Items]
"""`measure(stream, rows, ordinal)`: the items of `rows`, whose first has this ordinal in the stream."""


STRETCH = 256  # rows that are measured and packed at once, at least: of a small dataset, several epochs of a stream


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides which samples make which micro-batch: a pure function of the index and the config."""

    order: Order
    measure: Measure
    packer: Packer
    packs: int
    micro: int
    window: int
    seed: int

    def serve(self, ranks: int) -> None:
        """ConfigError where the streams are fewer than the ranks that read them."""
        if self.order.streams < ranks:
            shards = sum(map(len, self.order.rows))
            raise ConfigError(
                f"{self.order.streams} streams are fewer than {ranks} ranks; raise datamodules.streams (each needs one "
                f"of {shards} shards, and datamodules.packs is a multiple of it), or take fewer ranks"
            )

    def items(self, stream: int) -> Iterator[Items]:
        """Samples of a stream with their ordinals and costs, a stretch at a time, without end."""
        ordinal = 0
        for rows in stretches(self.order.stream(stream), least=STRETCH):
            yield self.measure(stream, rows, ordinal)
            ordinal += len(rows)

    def streams(self) -> list[Iterator[Packs]]:
        """The packs of every stream."""
        return [pack(self.items(stream), self.packer, stream=stream) for stream in range(self.order.streams)]

    def windows(self, first: int = 0) -> Iterator[Window]:
        """The steps in windows, from the one that step `first` is in."""
        return windows(self.streams(), packs=self.packs, window=self.window, seed=self.seed, first=first)

    def steps(self, first: int = 0) -> Iterator[Step]:
        """Steps from `first` on."""
        for window in self.windows(first):
            for at in range(max(first - window.first, 0), len(window)):
                yield window.step(at)

    def run(self, *, step: int, samples: int) -> Iterator[tuple[Window, int]]:
        """Windows and places of the steps from `step` on until `samples` samples are seen."""
        for window in self.windows(step):
            before = window.samples_seen - window.items.sum(1)
            for at in range(max(step - window.first, 0), len(window)):
                if before[at] >= samples:
                    return
                yield window, at


def stretches(parts: Iterable[NDArray[np.int64]], *, least: int) -> Iterator[NDArray[np.int64]]:
    """The same rows in parts of at least `least`; what is left of an end has fewer."""
    held: list[NDArray[np.int64]] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= least:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def planned(
    found: Index,
    rows: NDArray[np.int64],
    *,
    weights: Mapping[str, float],
    streams: int,
    mix: int,
    measure: Measure,
    packer: Packer,
    packs: int,
    micro: int,
    window: int,
    seed: int,
) -> Plan:
    """The plan of training on `rows` of datasets, an epoch of which has each as often as it weighs."""
    about = {"weights": tuple(weights.values()), "packs": packs, "streams": streams, "window": mix, "seed": seed}
    dealt = deal(found.dataset, found.shard, rows, **about)  # type: ignore[arg-type]
    return Plan(order=dealt, measure=measure, packer=packer, packs=packs, micro=micro, window=window, seed=seed)


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
        for window, at in self.plan.run(step=self.step, samples=self.samples):
            for micro in share(window, at, micro=self.plan.micro, rank=self.rank, ranks=self.ranks):
                yield replace(micro, captions=self.choose(micro.packs))

    def choose(self, packs: Iterable[Pack]) -> tuple[str, ...]:
        """The caption of each item, pack after pack."""
        return tuple(
            self.captions.choose(item.row, stream=pack.stream, ordinal=item.ordinal)
            for pack in packs
            for item in pack.items
        )
