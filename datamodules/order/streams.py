"""Canonical streams: which sample comes at which place, a pure function of (shards, seed): no ranks, workers or state.

- Epoch e permutes the shards with a generator keyed (seed, e); the shard at place p belongs to stream p mod C.
- A stream reads its shards one after the other, shuffled inside a window of a few shards, epoch after epoch.
- A dataset of weight w gives each of its samples w times an epoch: its own epochs follow one another without a gap, so
  that at w = 0.5 every second epoch of the run completes one of them.
- `ordinal` counts the samples of a stream from 0 on; choices about a sample are keyed by (stream, ordinal).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dit_video.errors import ConfigError, DataError
from dit_video.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Order:
    """Samples by shard, dealt to `streams` streams; `window` shards are shuffled together.

    `rows` holds, dataset by dataset and shard by shard, the rows of the index that take part; shards without any are
    left out. `weights` has one number a dataset.
    """

    rows: tuple[tuple[NDArray[np.int64], ...], ...]
    weights: tuple[float, ...]
    streams: int
    window: int
    seed: int
    epochs: dict[int, NDArray[np.int64]] = field(default_factory=dict, compare=False)

    def stream(self, number: int) -> Iterator[NDArray[np.int64]]:
        """Rows of one stream in order, a window at a time, without end."""
        epoch = 0
        while True:
            yield from self.windows(number, epoch)
            epoch += 1

    def windows(self, number: int, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Rows of one stream in one epoch, a window at a time."""
        mine = self.shards(epoch)[number :: self.streams]
        for first in range(0, len(mine), self.window):
            chunk = np.concatenate([self.rows[part][shard] for part, shard in mine[first : first + self.window]])
            yield rng(self.seed, "order", epoch, number, first).permutation(chunk)

    def shards(self, epoch: int) -> NDArray[np.int64]:
        """The shards of an epoch in order, as (m, 2) dataset and shard."""
        if epoch not in self.epochs:
            parts = [self.passed(part, epoch) for part in range(len(self.rows))]
            self.epochs[epoch] = rng(self.seed, "shards", epoch).permutation(np.concatenate(parts))
            self.epochs.pop(epoch - 2, None)  # streams are at most about an epoch apart
        return self.epochs[epoch]

    def passed(self, part: int, epoch: int) -> NDArray[np.int64]:
        """The shards that a dataset gives to an epoch, as (m, 2): a stretch of its own epochs, one after the other."""
        count, weight = len(self.rows[part]), self.weights[part]
        first, end = (math.floor(weight * turn * count + 1e-6) for turn in (epoch, epoch + 1))
        if first >= end:
            return np.empty((0, 2), np.int64)
        turns = range(first // count, (end - 1) // count + 1)
        shards = np.concatenate([rng(self.seed, "pass", part, turn).permutation(count) for turn in turns])
        mine = shards[first - turns[0] * count : end - turns[0] * count]
        return np.stack([np.full(len(mine), part), mine], axis=1)


def deal(
    dataset: NDArray[np.int64],
    shard: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    weights: Sequence[float] = (1.0,),
    packs: int,
    streams: int,
    window: int,
    seed: int,
) -> Order:
    """An order over `rows` of an index whose samples lie in shards `shard` of the datasets `dataset`.

    The number of streams is the largest divisor of `packs` (of a step) up to `streams` and the shards of an epoch.
    """
    if not len(rows):
        raise DataError("no samples are left to train on: all are held out, filtered, too short or too large")
    if len(weights) <= int(dataset.max(initial=0)) or min(weights) <= 0:
        raise ConfigError(f"datamodules.dataset needs a weight above 0 for every dataset, got {list(weights)}")
    groups = tuple(by_shard(shard, rows[dataset[rows] == part]) for part in range(len(weights)))
    shards = int(sum(weight * len(group) for weight, group in zip(weights, groups, strict=True)))
    limit = max(min(streams, shards), 1)
    count = max(divisor for divisor in range(1, limit + 1) if packs % divisor == 0)
    return Order(rows=groups, weights=tuple(map(float, weights)), streams=count, window=max(window, 1), seed=seed)


def by_shard(shard: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """`rows`, which rise, in one array a shard."""
    if not len(rows):
        return ()
    cuts = np.flatnonzero(np.diff(shard[rows])) + 1
    return tuple(np.split(rows, cuts))
