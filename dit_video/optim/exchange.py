"""Whole matrices of parameters that FSDP2 keeps by rows: dealt out among the ranks, sent there and back.

- Rank i of n that share a parameter holds its rows from i c up to (i + 1) c, c = ceil(rows / n); the last may hold
  fewer or none. A parameter may be a stack of matrices, whose borders lie anywhere in that.
- Matrices are dealt out like cards, the dearest first: no rank gets two more than another, none gets all.
- They travel in rounds of one shape, so that a rank has at most `most` bytes of whole matrices at once, or one matrix.
- A round is two all-to-alls, there and back. Of all of P numbers in matrices a rank sends and receives about
  (n - 1) / n * P / n numbers each way: as much as 2 / n of an all-gather, and no rank ever has all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, Shard

MOST = 2**28


class Shards(NamedTuple):
    """The ranks that share a tensor by rows, and which of them this one is; no `group` where a tensor is whole."""

    group: dist.ProcessGroup | None
    rank: int
    ranks: int

    def span(self, height: int, rank: int) -> tuple[int, int]:
        """The first row of `height` that a rank holds, and the one after its last."""
        each = -(-height // self.ranks)
        return min(rank * each, height), min((rank + 1) * each, height)


class Matrix(NamedTuple):
    """Rows `first` to `first + rows` of parameter number `member`, which has `height` of them."""

    member: int
    height: int
    first: int
    rows: int
    columns: int


class Piece(NamedTuple):
    """What a rank holds of a matrix: `rows` of it from `start` on, which are its own rows from `place` on."""

    member: int
    start: int
    rows: int
    place: int


Dealt = list[list[Matrix]]
"""The matrices of each rank."""


def shards(tensor: Tensor) -> Shards:
    """Who shares a tensor; it is split by rows over the last axis of its mesh and copied over the others."""
    if not isinstance(tensor, DTensor):
        return Shards(None, 0, 1)
    *copied, split = tensor.placements
    assert split == Shard(0), f"split as {tensor.placements}"
    assert all(one == Replicate() for one in copied), f"split as {tensor.placements}"
    mesh, axis = tensor.device_mesh, len(copied)
    return Shards(mesh.get_group(axis), mesh.get_local_rank(axis), mesh.size(axis))


def deal(matrices: Sequence[Matrix], *, ranks: int, size: int, most: int = MOST) -> Iterator[Dealt]:
    """The matrices in rounds of one shape, dealt out to the ranks; a number has `size` bytes."""
    shapes: dict[tuple[int, int], list[Matrix]] = defaultdict(list)
    for matrix in matrices:
        shapes[matrix.rows, matrix.columns].append(matrix)
    turn = 0
    for (rows, columns), members in sorted(shapes.items(), key=lambda item: -item[0][0] * item[0][1] * min(item[0])):
        count = ranks * max(most // (rows * columns * size), 1)
        for start in range(0, len(members), count):
            chosen = members[start : start + count]
            dealt: Dealt = [[] for _ in range(ranks)]
            for number, matrix in enumerate(chosen):
                dealt[(turn + number) % ranks].append(matrix)
            yield dealt
            turn += len(chosen)


class Round:
    """The exchange of the matrices of one round, all of them (rows, columns)."""

    def __init__(self, dealt: Dealt, among: Shards) -> None:
        self.among, self.mine = among, dealt[among.rank]
        self.shape = next((one.rows, one.columns) for matrices in dealt for one in matrices)
        self.away = [[held(one, among, among.rank) for one in matrices] for matrices in dealt]
        self.here = [[held(one, among, rank) for one in self.mine] for rank in range(among.ranks)]

    def rows(self, members: Sequence[Tensor]) -> list[Tensor]:
        """This rank's rows of the matrices of all ranks: views (n, columns) of what it holds of the members."""
        return [members[p.member][p.place : p.place + p.rows] for pieces in self.away for p in pieces]

    def gather(self, rows: Sequence[Tensor]) -> Tensor:
        """This rank's whole matrices (b, rows, columns), from every rank's `rows` of all."""
        parts = self._swap(rows, sent=self.away, due=self.here)
        if not self.mine:
            return rows[0].new_empty(0, *self.shape)
        return torch.stack([torch.cat(parts[number :: len(self.mine)]) for number in range(len(self.mine))])

    def scatter(self, matrices: Tensor) -> list[Tensor]:
        """This rank's rows of all matrices, from every rank's whole ones (b, rows, columns)."""
        own = [matrices[at, p.start : p.start + p.rows] for pieces in self.here for at, p in enumerate(pieces)]
        return self._swap(own or [matrices.flatten(0, 1)], sent=self.here, due=self.away)

    def _swap(self, rows: Sequence[Tensor], *, sent: list[list[Piece]], due: list[list[Piece]]) -> list[Tensor]:
        """Rows for the ranks one after the other, for rows from them likewise."""
        if self.among.ranks == 1:
            return list(rows)
        given = torch.cat(list(rows))
        taken = given.new_empty(sum(total(due)), self.shape[1])
        dist.all_to_all_single(taken, given, total(due), total(sent), group=self.among.group)
        return list(taken.split([piece.rows for pieces in due for piece in pieces]))


def held(matrix: Matrix, among: Shards, rank: int) -> Piece:
    """What a rank holds of a matrix."""
    low, high = among.span(matrix.height, rank)
    start = min(max(low - matrix.first, 0), matrix.rows)
    stop = min(max(high - matrix.first, 0), matrix.rows)
    return Piece(matrix.member, start, stop - start, matrix.first + start - low)


def total(pieces: Sequence[Sequence[Piece]]) -> list[int]:
    """Rows for or from each rank."""
    return [sum(piece.rows for piece in each) for each in pieces]


def most_at_once(matrices: Sequence[Matrix], *, ranks: int) -> int:
    """Numbers of the whole matrices that a rank has at a time, at most."""
    rounds = deal(matrices, ranks=ranks, size=4)
    return max((one.rows * one.columns * len(hand) for dealt in rounds for hand in dealt for one in hand), default=0)


def sent(matrices: Sequence[Matrix], *, ranks: int) -> list[int]:
    """Numbers that each rank sends, there and back."""
    counts = [0] * ranks
    for dealt in deal(matrices, ranks=ranks, size=1):
        for owner, hand in enumerate(dealt):
            for one in hand:
                each = -(-one.height // ranks)
                for rank in range(one.first // each, (one.first + one.rows - 1) // each + 1):
                    numbers = held(one, Shards(None, rank, ranks), rank).rows * one.columns
                    if rank != owner:
                        counts[rank] += numbers
                        counts[owner] += numbers
    return counts
