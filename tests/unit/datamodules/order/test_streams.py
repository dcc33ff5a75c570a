from __future__ import annotations

import numpy as np
import pytest

from datamodules.order.streams import deal
from dit_video.errors import ConfigError, DataError

SHARD = np.repeat(np.arange(6), 5)
ONE = np.zeros(30, np.int64)
TWO = np.repeat([0, 1], [20, 10])  # datasets of four and of two shards


def take(stream: object, count: int) -> list[int]:
    return [int(row) for _, rows in zip(range(count), stream, strict=False) for row in rows]


@pytest.mark.parametrize(("streams", "packs", "expected"), [(64, 6, 6), (64, 8, 4), (2, 8, 2), (64, 1, 1), (5, 3, 3)])
def test_streams_divide_the_packs(streams: int, packs: int, expected: int) -> None:
    assert deal(ONE, SHARD, np.arange(30), packs=packs, streams=streams, window=4, seed=0).streams == expected


@pytest.mark.parametrize("streams", [1, 2, 3, 6])
def test_an_epoch_of_all_streams_is_every_sample_once(streams: int) -> None:
    order = deal(ONE, SHARD, np.arange(30), packs=streams, streams=streams, window=2, seed=3)
    turns = -(-6 // streams // 2) if streams < 6 else 1
    epochs = [[take(order.stream(s), turns * (e + 1))[-30 // streams :] for s in range(streams)] for e in range(2)]
    for epoch in epochs:
        assert sorted(row for stream in epoch for row in stream) == list(range(30))
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (0.75, 1.0), (3.0, 0.5)])
def test_datasets_come_as_often_as_they_weigh(weights: tuple[float, float]) -> None:
    order = deal(TWO, SHARD, np.arange(30), weights=weights, packs=2, streams=2, window=2, seed=3)
    epochs = [
        [row for s in range(2) for chunk in order.windows(s, epoch) for row in chunk.tolist()] for epoch in range(4)
    ]
    for part, weight in enumerate(weights):
        own = np.flatnonzero(part == TWO).tolist()
        counts = np.bincount([row for epoch in epochs for row in epoch], minlength=30)[own]
        assert counts.tolist() == [4 * weight] * len(own)
        for number, epoch in enumerate(epochs):
            share = sum(int(TWO[row] == part) for row in epoch) / len(own)
            assert abs(share - weight) < 0.5, (number, share)


def test_a_weight_of_one_changes_nothing_for_the_other_dataset() -> None:
    both = deal(TWO, SHARD, np.arange(30), weights=(1.0, 1.0), packs=1, streams=1, window=1, seed=0)
    assert sorted(row for chunk in both.windows(0, 5) for row in chunk.tolist()) == list(range(30))


def test_order_depends_on_the_seed_alone() -> None:
    first, again, other = (deal(ONE, SHARD, np.arange(30), packs=2, streams=2, window=2, seed=s) for s in (0, 0, 1))
    assert take(first.stream(1), 9) == take(again.stream(1), 9) != take(other.stream(1), 9)


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="no samples"):
        deal(ONE, SHARD, np.arange(0), packs=1, streams=1, window=1, seed=0)
    with pytest.raises(ConfigError, match="weight"):
        deal(TWO, SHARD, np.arange(30), weights=(1.0, 0.0), packs=1, streams=1, window=1, seed=0)
