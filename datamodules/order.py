"""Canonical streams: which sample comes at which place, a pure function of (shards, seed): no ranks, workers or state.

- Epoch e permutes the shards with a generator keyed (seed, e); the shard at place p belongs to stream p mod C.
- A stream reads its shards one after the other, shuffled inside a window of a few shards, epoch after epoch.
- `ordinal` counts the samples of a stream from 0 on; choices about a sample are keyed by (stream, ordinal).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dit_video.errors import DataError
from dit_video.seeds import rng, seed_for

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Order:
    """Samples by shard, dealt to `streams` streams; `window` shards are shuffled together.

    `rows` holds, shard by shard, the rows of the index that take part; shards without any are left out.
    """

    rows: tuple[tuple[int, ...], ...]
    streams: int
    window: int
    seed: int

    def stream(self, number: int) -> Iterator[NDArray[np.int64]]:
        """Rows of one stream in order, a window at a time, without end."""
        epoch = 0
        while True:
            shuffled = rng(self.seed, "shards", epoch).permutation(len(self.rows))
            mine = shuffled[number :: self.streams]
            for first in range(0, len(mine), self.window):
                chunk = np.concatenate([self.rows[shard] for shard in mine[first : first + self.window]])
                yield rng(self.seed, "order", epoch, number, first).permutation(chunk)
            epoch += 1


def deal(
    shard: NDArray[np.int64], rows: NDArray[np.int64], *, packs: int, streams: int, window: int, seed: int
) -> Order:
    """An order over `rows` of an index whose samples lie in shards `shard`.

    The number of streams is the largest divisor of `packs` (of a step) up to `streams` and the shards there are.
    """
    groups: dict[int, list[int]] = {}
    for row in rows.tolist():
        groups.setdefault(int(shard[row]), []).append(row)
    if not groups:
        raise DataError("no samples are left to train on: all are held out, too short or too large for a pack")
    limit = min(streams, len(groups))
    count = max(divisor for divisor in range(1, limit + 1) if packs % divisor == 0)
    return Order(rows=tuple(map(tuple, groups.values())), streams=count, window=max(window, 1), seed=seed)


def uniform(
    seed: int, purpose: str, stream: int, ordinal: NDArray[np.int64] | int, draw: int = 0
) -> NDArray[np.float64]:
    """Numbers in [0, 1) keyed by (seed, purpose, stream, ordinal, draw): splitmix64, so that thousands cost nothing."""
    base = np.uint64(seed_for(seed, purpose, stream, draw))
    with np.errstate(over="ignore"):
        state = base + (np.asarray(ordinal).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53


def weighted(weights: Sequence[float], level: float) -> int:
    """Which of the weighted choices a uniform `level` falls on."""
    total = np.cumsum(np.asarray(weights, dtype=np.float64))
    return min(int(np.searchsorted(total, level * total[-1], side="right")), len(weights) - 1)
