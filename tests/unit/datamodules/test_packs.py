from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.packs import Item, group, pack


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 16))
def test_packs_hold_everything_once_and_never_too_much(tokens: list[int], lookahead: int) -> None:
    items = [Item(row=at, ordinal=at, tokens=count) for at, count in enumerate(tokens)]
    packs = list(pack(items, stream=2, length=40, lookahead=lookahead))
    assert sorted(item.ordinal for made in packs for item in made.items) == list(range(len(tokens)))
    assert all(0 < sum(item.tokens for item in made.items) <= 40 for made in packs)
    assert [made.number for made in packs] == list(range(len(packs)))
    for made in packs:
        oldest = min(set(range(len(tokens))) - {i.ordinal for p in packs[: made.number] for i in p.items})
        assert made.items[0].ordinal == oldest


def test_look_ahead_fills_better() -> None:
    rng = np.random.default_rng(0)
    items = [Item(row=at, ordinal=at, tokens=int(rng.integers(50, 400))) for at in range(4000)]

    def padding(lookahead: int) -> float:
        packs = list(islice(pack(iter(items), stream=0, length=1000, lookahead=lookahead), 300))
        return 1 - sum(item.tokens for made in packs for item in made.items) / 300_000

    assert padding(32) < 0.04
    assert padding(1) > 0.1


def test_groups_are_of_one_kind_in_order() -> None:
    items = [Item(row=at, ordinal=at, kind=at % 3) for at in range(20)]
    made = list(group(items, stream=0, batch=3))
    assert len(made) == 6
    for one in made:
        assert len({item.kind for item in one.items}) == 1
        assert [item.ordinal for item in one.items] == sorted(item.ordinal for item in one.items)
