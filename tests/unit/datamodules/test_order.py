from __future__ import annotations

import numpy as np
import pytest

from datamodules.order import deal, uniform, weighted
from dit_video.errors import DataError

SHARD = np.repeat(np.arange(6), 5)


def take(stream: object, count: int) -> list[int]:
    return [int(row) for _, rows in zip(range(count), stream, strict=False) for row in rows]


@pytest.mark.parametrize(("streams", "packs", "expected"), [(64, 6, 6), (64, 8, 4), (2, 8, 2), (64, 1, 1), (5, 3, 3)])
def test_streams_divide_the_packs(streams: int, packs: int, expected: int) -> None:
    assert deal(SHARD, np.arange(30), packs=packs, streams=streams, window=4, seed=0).streams == expected


@pytest.mark.parametrize("streams", [1, 2, 3, 6])
def test_an_epoch_of_all_streams_is_every_sample_once(streams: int) -> None:
    order = deal(SHARD, np.arange(30), packs=streams, streams=streams, window=2, seed=3)
    turns = -(-6 // streams // 2) if streams < 6 else 1
    epochs = [[take(order.stream(s), turns * (e + 1))[-30 // streams :] for s in range(streams)] for e in range(2)]
    for epoch in epochs:
        assert sorted(row for stream in epoch for row in stream) == list(range(30))
    assert epochs[0] != epochs[1]


def test_order_depends_on_the_seed_alone() -> None:
    first, again, other = (deal(SHARD, np.arange(30), packs=2, streams=2, window=2, seed=s) for s in (0, 0, 1))
    assert take(first.stream(1), 9) == take(again.stream(1), 9) != take(other.stream(1), 9)


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="no samples"):
        deal(SHARD, np.arange(0), packs=1, streams=1, window=1, seed=0)


def test_uniform_is_keyed_and_even() -> None:
    level = uniform(0, "given", 3, np.arange(20000))
    assert abs(level.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(level[1:], level[:-1])[0, 1]) < 0.03
    assert float(uniform(0, "given", 3, 17)) == level[17]
    for other in (uniform(1, "given", 3, 17), uniform(0, "x", 3, 17), uniform(0, "given", 4, 17)):
        assert float(other) != level[17]
    assert float(uniform(0, "given", 3, 17, draw=1)) != level[17]


def test_weighted_shares() -> None:
    drawn = [weighted([1, 0, 3], level) for level in np.arange(0, 1, 0.01)]
    assert (drawn.count(0), drawn.count(1), drawn.count(2)) == (25, 0, 75)
    assert weighted([1, 1], 0.9999999999) == 1
