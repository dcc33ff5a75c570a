from __future__ import annotations

import numpy as np
import pytest

from datamodules.prepare import near

ROWS, FRAMES = 600, 3


def flipped(hashes: np.ndarray, bits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hashes with exactly so many bits flipped."""
    order = rng.permuted(np.broadcast_to(np.arange(64, dtype=np.uint64), (*hashes.shape, 64)), axis=-1)
    chosen = np.where(np.arange(64) < np.asarray(bits)[..., None], np.uint64(1) << order, np.uint64(0))
    return hashes ^ np.bitwise_or.reduce(chosen, axis=-1)


def allowed(rows: int, bits: int = 8) -> near.Allowed:
    return near.Allowed(bits=np.full(rows, bits), kind=np.zeros(rows, bool), source=np.arange(rows), within=0)


def random_hashes(rows: int = ROWS) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 2**64, (rows, FRAMES), dtype=np.uint64), rng


def every_pair(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    first, second = np.triu_indices(len(hashes), 1)
    return np.stack([first, second, near.apart(hashes, known, first, second)])


def test_planted_pairs_are_those_of_all_comparisons() -> None:
    hashes, rng = random_hashes()
    hashes[300:400] = flipped(hashes[:100], rng.integers(0, 13, (100, FRAMES)), rng)
    known = np.ones(hashes.shape, bool)
    found = near.pairs(hashes, known, allowed(ROWS))
    wanted = every_pair(hashes, known)
    wanted = wanted[:, wanted[2] <= 8]
    assert 50 < wanted.shape[1] < 100
    assert np.stack([found.first, found.second, found.distance]).tolist() == wanted.tolist()


def test_rows_are_as_far_apart_as_most_of_their_hashes() -> None:
    hashes, rng = random_hashes(2)
    known = np.ones((2, FRAMES), bool)
    hashes[1] = flipped(hashes[0], np.array([2, 30, 5]), rng)
    assert near.apart(hashes, known, np.array([0]), np.array([1])) == [5]
    known[:, 2] = False  # of two hashes both must agree
    assert near.apart(hashes, known, np.array([0]), np.array([1])) == [30]
    known[:, 1] = False
    assert near.apart(hashes, known, np.array([0]), np.array([1])) == [2]


def test_a_copy_that_begins_later_is_found() -> None:
    hashes, rng = random_hashes(40)
    hashes[7, :2] = flipped(hashes[3, 1:], np.array([1, 4]), rng)
    found = near.pairs(hashes, np.ones(hashes.shape, bool), allowed(40))
    assert (found.first.tolist(), found.second.tolist(), found.distance.tolist()) == ([3], [7], [4])


def test_unlike_kinds_are_not_compared_and_one_source_more_strictly() -> None:
    hashes, rng = random_hashes(6)
    hashes[1:] = flipped(np.repeat(hashes[:1], 5, axis=0), np.full((5, FRAMES), 3), rng)
    hashes[5] = hashes[0]
    kind, source = np.array([0, 1, 1, 0, 0, 0], bool), np.array([0, 1, 1, 0, 2, 0])
    rules = near.Allowed(bits=np.full(6, 6), kind=kind, source=source, within=2)
    found = near.pairs(hashes, np.ones(hashes.shape, bool), rules)
    assert {*zip(found.first.tolist(), found.second.tolist(), strict=True)} == {(0, 4), (3, 4), (4, 5), (0, 5)}


def test_the_smaller_limit_of_two_rows_holds() -> None:
    hashes, rng = random_hashes(2)
    hashes[1] = flipped(hashes[0], np.full(FRAMES, 5), rng)
    rules = near.Allowed(bits=np.array([8, 4]), kind=np.zeros(2, bool), source=np.arange(2), within=0)
    assert len(near.pairs(hashes, np.ones(hashes.shape, bool), rules).first) == 0


def test_a_crowd_of_copies_is_compared_with_its_best() -> None:
    hashes, rng = random_hashes(800)
    hashes[10:] = flipped(np.repeat(hashes[:1], 790, axis=0), rng.integers(0, 3, (790, FRAMES)), rng)
    found = near.pairs(hashes, np.ones(hashes.shape, bool), allowed(800))
    owner, _ = near.stars(found, 800)
    assert owner[:10].tolist() == list(range(10))
    assert set(owner[10:]) == {0}
    assert len(found.first) < 800 * 790 / 4


def test_a_chain_does_not_pull_unlike_rows_together() -> None:
    steps = 12
    chain = near.Pairs(
        first=np.arange(steps - 1), second=np.arange(1, steps), distance=np.full(steps - 1, 5, dtype=np.uint8)
    )
    owner, bits = near.stars(chain, steps)
    assert owner.tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]
    assert bits.tolist() == [0, 5] * 6


@pytest.mark.parametrize("seed", range(5))
def test_every_copy_is_near_to_a_kept_row_and_kept_rows_are_not_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = np.sort(rng.integers(0, 200, (2, 400)), axis=0)
    edges = np.unique(np.stack([first, second])[:, first < second], axis=1)
    distance = rng.integers(0, 9, edges.shape[1]).astype(np.uint8)
    owner, bits = near.stars(near.Pairs(first=edges[0], second=edges[1], distance=distance), 200)
    kept = owner == np.arange(200)
    assert not (kept[edges[0]] & kept[edges[1]]).any()
    for row in np.flatnonzero(~kept):
        mates = {int(a): int(d) for a, b, d in zip(*edges, distance, strict=True) if b == row and kept[a]}
        assert bits[row] == mates[int(owner[row])] == min(mates.values())


def test_no_hashes_are_no_pairs() -> None:
    nothing = near.pairs(np.zeros((5, 3), np.uint64), np.zeros((5, 3), bool), allowed(5))
    assert len(nothing.first) == 0
    assert near.stars(nothing, 5)[0].tolist() == list(range(5))
