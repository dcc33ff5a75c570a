"""Pairs of near hashes among millions, and the best row of each group: no row is compared with all others.

- Rows have up to F perceptual hashes of 64 bits, in the order of time. Two are a pair at `distance` bits where most of
  their hashes differ by no more, under one shift of one against the other.
- Candidates share the bits under a random mask with a row whose hash is near (locality-sensitive hashing by sampled
  bits, Indyk and Motwani 1998): a sort per mask instead of n^2 comparisons.
- A copy is a row near to the very row that is kept. So copies of copies do not chain unlike rows together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dit_video import log
from dit_video.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BITS = 64
MOST_BITS = 16  # unlike pictures may be as near as that
RECALL = 0.99  # of rows with one hash that differs by as many bits as asked
MOST_MASKS = 48
MATES = 32  # of a crowd with the same bits under a mask, the best that each is compared with
FAR = 255  # bits between hashes where there is none
CHUNK = 1 << 18  # rows compared at once


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Near rows: `first` is the better one by rank, `second` the other, `distance` the bits between them."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """How many bits may lie between two rows: the smaller one of their `bits`, -1 where they are of unlike `kind`.

    Rows of one `source` are parts of it that do not overlap: `within` is what is asked of them.
    """

    bits: NDArray[np.int64]
    kind: NDArray[np.bool_]
    source: NDArray[np.int64]
    within: int

    def between(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """Most bits between rows of a pair."""
        bits = np.minimum(self.bits[first], self.bits[second])
        bits = np.where(self.source[first] == self.source[second], np.minimum(bits, self.within), bits)
        return np.where(self.kind[first] == self.kind[second], bits, -1)


def masks(entries: int, distance: int) -> list[np.uint64]:
    """Random masks, of so many bits that few unlike hashes agree, and so many of them that near ones do."""
    bits = int(np.clip(np.log2(max(entries, 2)) - 2, 8, 24))
    spared = math.comb(BITS - distance, bits) / math.comb(BITS, bits)  # chance that a mask has no differing bit
    count = min(max(math.ceil(math.log(1 - RECALL) / math.log1p(-min(spared, 0.999))), 4), MOST_MASKS)
    draws = rng(0, "hash masks", bits)
    return [
        np.bitwise_or.reduce(np.uint64(1) << draws.permutation(BITS)[:bits].astype(np.uint64)) for _ in range(count)
    ]


def crowd(keys: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places with equal keys, each with those before it (in a crowd: with the first `MATES`), some at a time."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    start = np.repeat(begins, np.diff(np.append(begins, len(keys))))
    depth = np.arange(len(keys)) - start
    later = np.flatnonzero(depth)
    for mate in range(min(int(depth.max(initial=0)), MATES)):
        later = later[depth[later] > mate]
        yield order[start[later] + mate], order[later]


def bits_between(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits of hashes differ."""
    found: NDArray[np.uint8] = np.bitwise_count(first ^ second)
    return found


def apart(
    hashes: NDArray[np.uint64], known: NDArray[np.bool_], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Bits between rows: the least that most hashes of the row with fewer stay within, under the best shift."""
    most = hashes.shape[1]
    best = np.full(len(first), FAR, np.uint8)
    need = np.minimum(known[first].sum(1), known[second].sum(1)) // 2
    for shift in range(1 - most, most):
        left, right = slice(max(shift, 0), most + min(shift, 0)), slice(max(-shift, 0), most - max(shift, 0))
        bits = bits_between(hashes[first, left], hashes[second, right])
        bits = np.sort(np.where(known[first, left] & known[second, right], bits, FAR), axis=1)
        enough = need < bits.shape[1]
        found = bits[np.arange(len(bits)), np.minimum(need, bits.shape[1] - 1)]
        best = np.minimum(best, np.where(enough, found, FAR))
    return best


def pairs(hashes: NDArray[np.uint64], known: NDArray[np.bool_], allowed: Allowed) -> Pairs:
    """Near rows among hashes (n, F), `known` where there is one that says something; earlier rows count as better."""
    row, place = np.nonzero(known)
    entry = hashes[row, place]
    most = int(allowed.bits.max(initial=0))
    found = np.empty(0, np.int64)
    chosen = masks(len(entry), most) if len(entry) else []
    for mask in log.progress(chosen, what="compare", total=len(chosen), unit="mask"):
        near = [found]
        for one, other in crowd(entry & mask):
            close = bits_between(entry[one], entry[other]) <= most
            first, second = row[one[close]], row[other[close]]
            near.append((first * len(hashes) + second)[(first != second) & (allowed.between(first, second) >= 0)])
        found = np.unique(np.concatenate(near))
    first, second = np.divmod(found, max(len(hashes), 1))
    steps = range(0, len(found), CHUNK)
    parts = [apart(hashes, known, first[at : at + CHUNK], second[at : at + CHUNK]) for at in steps]
    bits = np.concatenate([np.empty(0, np.uint8), *parts])
    close = bits <= allowed.between(first, second)
    return Pairs(first=first[close], second=second[close], distance=bits[close])


def stars(near: Pairs, rows: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """For each row the kept one that it copies (itself where it is kept), and the bits between them.

    Rows are taken from the best on: kept, unless near to a row that is kept.
    """
    kept, waiting = np.zeros(rows, np.bool_), np.ones(rows, np.bool_)
    first, second = near.first, near.second
    while len(first):
        blocked = np.zeros(rows, np.bool_)
        blocked[second] = True
        kept |= waiting & ~blocked
        waiting &= blocked
        waiting[second[kept[first]]] = False
        going = waiting[first] & waiting[second]
        first, second = first[going], second[going]
    kept |= waiting
    mine = kept[near.first] & ~kept[near.second]
    first, second, distance = near.first[mine], near.second[mine], near.distance[mine]
    nearest = np.lexsort((first, distance))[::-1]  # the nearest is written last
    owner, bits = np.arange(rows), np.zeros(rows, np.uint8)
    owner[second[nearest]], bits[second[nearest]] = first[nearest], distance[nearest]
    return owner, bits
