from __future__ import annotations

import numpy as np

from datamodules.order.held import held_micro, held_packs, in_order


def test_every_sample_is_in_one_pack_that_holds_it() -> None:
    tokens = np.asarray([7, 3, 5, 10, 1, 4, 2])
    packs = held_packs([0, 1, 2, 3, 5, 6], tokens, length=10)
    rows = [item.row for pack in packs for item in pack.items]
    assert sorted(rows) == [0, 1, 2, 3, 5, 6]
    assert [sum(item.tokens for item in pack.items) for pack in packs] == [10, 10, 9, 2]
    for pack in packs:
        sizes = [item.tokens for item in pack.items]
        assert sizes == sorted(sizes)
    assert [(pack.stream, pack.number) for pack in packs] == [(-1, 0), (-1, 1), (-1, 2), (-1, 3)]


def test_the_order_is_the_keys_alone() -> None:
    keys = np.asarray([f"key{number}" for number in range(20)], object)
    rows = in_order(np.arange(20), keys)  # type: ignore[arg-type]
    again = in_order(np.asarray(rows[::-1]), keys)  # type: ignore[arg-type]
    assert rows == again
    assert rows != sorted(rows)


def test_a_pack_is_a_step_of_its_own() -> None:
    (pack,) = held_packs([0], np.asarray([4]), length=10)
    micro = held_micro(pack, captions=("a",))
    assert (micro.place.packs, micro.place.micros, micro.place.step_weight) == (((-1, 0),), 1, 4.0)
