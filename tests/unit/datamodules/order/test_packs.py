from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.order.packs import Fill, Group, Items, Packs, items, joined, pack

LENGTH = 40


def made_of(tokens: Sequence[int], *, kind: Sequence[int] | None = None) -> Items:
    rows = np.arange(len(tokens))
    counts = np.asarray(tokens, dtype=np.int64)
    return items(rows, rows, tokens=counts, kind=rows * 0 if kind is None else np.asarray(kind, dtype=np.int64))


def whole(packs: list[Packs]) -> list[list[int]]:
    assert [part.first for part in packs] == np.cumsum([0, *map(len, packs)])[:-1].tolist()
    return [[item.ordinal for item in part.pack(at).items] for part in packs for at in range(len(part))]


def plainly(tokens: Sequence[int], lookahead: int) -> list[list[int]]:
    """The rule, sample by sample, by trying all ways."""
    coming, near, found, current = deque(range(len(tokens))), [], [], []
    while True:
        while len(near) < lookahead and coming:
            near.append(coming.popleft())
        if len(near) < lookahead:
            return found
        room = LENGTH - sum(tokens[at] for at in current)
        ways = [(at,) for at in near] + [pair for pair in permutations(near, 2) if tokens[pair[0]] >= tokens[pair[1]]]
        fits = [way for way in ways if sum(tokens[at] for at in way) <= room] if current else [(near[0],)]
        if not fits:
            found.append(current)
            current = []
            continue
        chosen = max(
            fits, key=lambda way: (sum(tokens[at] for at in way), -len(way), tokens[way[0]], [-at for at in way])
        )
        current += chosen
        near = [at for at in near if at not in chosen]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, LENGTH), max_size=80), st.integers(1, 16), st.lists(st.integers(0, 80), max_size=4))
def test_packs_follow_the_rule_however_the_stream_comes(tokens: list[int], lookahead: int, cuts: list[int]) -> None:
    places = sorted(min(cut, len(tokens)) for cut in cuts)
    every = made_of(tokens)
    stretches = [every[start:end] for start, end in zip([0, *places], [*places, len(tokens)], strict=True)]
    found = whole(list(pack(stretches, Fill(length=LENGTH, lookahead=lookahead), stream=2)))
    assert found == [sorted(members, key=lambda at: tokens[at]) for members in plainly(tokens, lookahead)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, LENGTH), min_size=40, max_size=200), st.integers(1, 16))
def test_packs_hold_everything_once_and_never_too_much(tokens: list[int], lookahead: int) -> None:
    found = whole(list(pack([made_of(tokens)], Fill(length=LENGTH, lookahead=lookahead), stream=0)))
    taken = [at for one in found for at in one]
    assert len(set(taken)) == len(taken)
    assert all(0 < sum(tokens[at] for at in one) <= LENGTH for one in found)
    for number, one in enumerate(found):
        assert min(one) == min(set(range(len(tokens))) - {at for before in found[:number] for at in before})


def test_look_ahead_fills_better() -> None:
    tokens = np.random.default_rng(0).integers(50, 400, 4000)

    def padding(lookahead: int) -> float:
        (packs,) = pack([made_of(tokens.tolist())], Fill(length=1000, lookahead=lookahead), stream=0)
        return 1 - float(packs.sums(packs.items.tokens).sum()) / (1000 * len(packs))

    assert padding(32) < 0.02
    assert padding(1) > 0.1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 5), st.integers(0, 60))
def test_groups_are_of_one_kind_in_the_order_in_which_they_fill(kinds: list[int], batch: int, cut: int) -> None:
    waiting: dict[int, list[int]] = {}
    expected = []
    for at, kind in enumerate(kinds):
        waiting.setdefault(kind, []).append(at)
        if len(waiting[kind]) == batch:
            expected.append(waiting.pop(kind))
    every = made_of([1] * len(kinds), kind=kinds)
    assert whole(list(pack([every[:cut], every[cut:]], Group(batch=batch), stream=0))) == expected


def test_columns_of_packs_are_those_of_their_items() -> None:
    tokens = [30, 20, 10, 10, 40, 5, 35, 1]
    (packs,) = pack([made_of(tokens)], Fill(length=LENGTH, lookahead=2), stream=3)
    parts = [packs[:2], packs[2:]]
    assert joined(parts).ends.tolist() == packs.ends.tolist()
    for part in (packs, *parts):
        assert part.counts.tolist() == [len(part.pack(at).items) for at in range(len(part))]
        expected = [sum(tokens[item.row] for item in part.pack(at).items) for at in range(len(part))]
        assert part.sums(part.items.tokens).tolist() == expected
    assert parts[1].pack(0) == packs.pack(2)


def test_what_fits_into_no_pack_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="41 tokens"):
        list(pack([made_of([3, 41])], Fill(length=LENGTH, lookahead=1), stream=0))


def test_a_sample_without_tokens_is_refused() -> None:
    with pytest.raises(AssertionError, match="a sample has 0 tokens"):
        list(pack([made_of([3, 0, 4, 0, 5, 2])], Fill(length=LENGTH, lookahead=2), stream=0))
