"""How whole matrices are dealt out among ranks, and that rows put together are the matrices."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from dit_video.optim.exchange import Matrix, Round, Shards, deal, held

DEPTH, WIDTH = 48, 64
SHAPES = [(3 * WIDTH, WIDTH, 3), (WIDTH, WIDTH, 1), (6 * WIDTH, WIDTH, 2), (WIDTH, 3 * WIDTH, 1)]


def model() -> list[Matrix]:
    """The matrices of a transformer: (height, columns, parts) of each parameter of each block."""
    return [
        Matrix(number, height, place * (height // parts), height // parts, columns)
        for number, (height, columns, parts) in enumerate(SHAPES * DEPTH)
        for place in range(parts)
    ]


@pytest.mark.parametrize("ranks", [1, 2, 7, 64, 1024])
def test_every_matrix_has_one_rank_and_no_rank_two_more_than_another(ranks: int) -> None:
    matrices = model()
    dealt = list(deal(matrices, ranks=ranks, size=4, most=10**5))
    assert sorted(one for each in dealt for hand in each for one in hand) == sorted(matrices)
    counts = Counter({rank: sum(len(each[rank]) for each in dealt) for rank in range(ranks)})
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("most", [1, 10**5, 10**9])
def test_a_rank_has_no_more_than_the_limit_or_one_matrix(most: int) -> None:
    for each in deal(model(), ranks=4, size=4, most=most):
        for hand in each:
            assert len({(one.rows, one.columns) for one in hand}) <= 1
            assert len(hand) <= 1 or sum(one.rows * one.columns * 4 for one in hand) <= most


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7, 20])
@pytest.mark.parametrize(("height", "parts"), [(12, 3), (6, 2), (5, 1), (1, 1)])
def test_the_rows_of_all_ranks_are_the_matrix(ranks: int, height: int, parts: int) -> None:
    parameter = torch.arange(height)
    chunks = parameter.chunk(ranks)
    for place in range(parts):
        matrix = Matrix(0, height, place * height // parts, height // parts, 1)
        rows = []
        for rank in range(ranks):
            piece = held(matrix, Shards(None, rank, ranks), rank)
            own = chunks[rank] if rank < len(chunks) else parameter[:0]
            rows.append(own[piece.place : piece.place + piece.rows])
            assert len(rows[-1]) == piece.rows
        assert torch.equal(torch.cat(rows), parameter[matrix.first : matrix.first + matrix.rows])


def test_alone_nothing_is_exchanged() -> None:
    members = [torch.randn(6, 4), torch.randn(6, 4)]
    (dealt,) = deal([Matrix(n, 6, first, 3, 4) for n in range(2) for first in (0, 3)], ranks=1, size=4)
    turn = Round(dealt, Shards(None, 0, 1))
    whole = turn.gather(turn.rows(members))
    assert torch.equal(whole, torch.stack([half for member in members for half in member.chunk(2)]))
    assert torch.equal(torch.cat(turn.scatter(whole)), torch.cat(members))
