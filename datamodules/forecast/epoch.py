"""One epoch of a plan, walked window by window in columns: packs, padding, FLOPs by bucket, and who waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datamodules.order.packs import Items, concatenated
from datamodules.order.steps import turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.forecast.counts import Counts
    from datamodules.order.plan import Plan
    from datamodules.order.steps import Window


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch of `samples` samples, so many of each of `datasets`: `steps` it takes; FLOPs are of the forward alone.

    `seen`, `units` and `flops` add up the epoch by bucket; `padding` is the share of a pack's length that is filled up,
    `idle` the share of time in which ranks wait for the slowest, `pad_flops` what padding costs. `run_steps` are those
    of the whole run, counted while they lie in the first epoch, in proportion beyond. `fullest` is the pack of most
    clips, or of most FLOPs where packs are of one bucket.
    """

    samples: float
    datasets: tuple[float, ...]
    steps: int
    run_steps: int
    seen: NDArray[np.float64]
    units: NDArray[np.float64]
    flops: NDArray[np.float64]
    pad_flops: float
    padding: float
    idle: float
    fullest: Items


class Walk:
    """Sums over the windows of a plan."""

    def __init__(self, counts: Counts, *, ranks: int, micro: int) -> None:
        self.counts, self.ranks, self.micro = counts, ranks, micro
        self.seen, self.units, self.flops = np.zeros((3, len(counts.shapes)))
        self.packs = 0
        self.padded = self.busy = self.span = 0.0
        self.best = -1.0
        self.fullest: Items | None = None

    def add(self, window: Window) -> None:
        """Count a window."""
        items = concatenated([part.items for part in window.parts])
        units, flops = self.counts.weigh(items)
        code, kinds = self.counts.code[items.row], len(self.counts.shapes)
        self.seen += np.bincount(code, minlength=kinds)
        self.units += np.bincount(code, weights=units, minlength=kinds)
        self.flops += np.bincount(code, weights=flops, minlength=kinds)
        sizes = np.concatenate([part.counts for part in window.parts])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        of_pack = np.add.reduceat(flops, starts)
        if self.counts.length:
            spare = self.counts.length - np.add.reduceat(units, starts)
            of_pack += self.counts.pad(spare)
            self.padded += float(spare.sum())
        self.note(items, starts, sizes, sizes if self.counts.length else of_pack)
        self.packs += len(sizes)
        self.balance(window, of_pack)

    def note(
        self, items: Items, starts: NDArray[np.int64], sizes: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> None:
        """Keep the pack that weighs most."""
        at = int(weight.argmax())
        if weight[at] > self.best:
            self.best, self.fullest = float(weight[at]), items[slice(int(starts[at]), int(starts[at] + sizes[at]))]

    def balance(self, window: Window, flops: NDArray[np.float64]) -> None:
        """Add up what ranks do, and how long the slowest of each step takes."""
        before = np.cumsum([0, *(len(part) for part in window.parts)])[:-1]
        first = np.asarray([part.first for part in window.parts])
        dealt = flops[before[window.stream] + window.number - first[window.stream]]
        micros = dealt.reshape(len(dealt), -1, self.micro).sum(2)
        by_rank = micros[:, turns(count=micros.shape[1] // self.ranks, ranks=self.ranks)].sum(2)
        self.busy += float(by_rank.sum())
        self.span += float(by_rank.max(1).sum()) * self.ranks


def walk(plan: Plan, counts: Counts, *, ranks: int, samples: int) -> Epoch:
    """One epoch of the plan, for a run of `samples` samples on `ranks` ranks."""
    order, found = plan.order, Walk(counts, ranks=ranks, micro=plan.micro)
    datasets = tuple(w * sum(map(len, shards)) for w, shards in zip(order.weights, order.rows, strict=True))
    whole = sum(datasets)
    run_steps = 0
    for window in plan.windows():
        found.add(window)
        if not run_steps and window.samples_seen[-1] >= samples:
            run_steps = window.first + int(np.searchsorted(window.samples_seen, samples)) + 1
        if window.samples_seen[-1] >= whole:
            break
    steps = window.first + int(np.searchsorted(window.samples_seen, whole)) + 1
    scale = whole / found.seen.sum()
    assert found.fullest is not None
    return Epoch(
        samples=whole,
        datasets=datasets,
        steps=steps,
        run_steps=run_steps or -(-samples * (window.first + len(window)) // int(window.samples_seen[-1])),
        seen=found.seen * scale,
        units=found.units * scale,
        flops=found.flops * scale,
        pad_flops=(found.busy - float(found.flops.sum())) * scale,
        padding=found.padded / (found.packs * counts.length) if counts.length else 0.0,
        idle=1 - found.busy / found.span,
        fullest=found.fullest,
    )
