"""Held-out samples in packs of their own, outside of the order: stream -1, the same whenever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from datamodules.order.packs import Item, Pack
from datamodules.order.steps import Micro
from dit_video.batch import Place
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datamodules.dataset.columns import Texts


def in_order(rows: NDArray[np.int64], keys: Texts) -> list[int]:
    """Rows in an order that their keys alone decide, so that the first few are a fair choice."""
    return sorted(rows.tolist(), key=lambda row: seed_for(0, "order of validation", keys[row]))


def held_packs(rows: Sequence[int], tokens: NDArray[np.int64], *, length: int) -> list[Pack]:
    """Packs of at most `length` tokens, the longest samples first, each into the first pack with room for it."""
    packs: list[list[Item]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: -int(tokens[row])):
        size = int(tokens[row])
        item = Item(row=row, ordinal=0, tokens=size, weight=float(size))
        place = next((place for place, free in enumerate(room) if free >= size), len(packs))
        if place == len(packs):
            packs.append([])
            room.append(length)
        packs[place].append(item)
        room[place] -= size
    return [Pack(stream=-1, number=number, items=tuple(reversed(items))) for number, items in enumerate(packs)]


def held_micro(pack: Pack, *, captions: tuple[str, ...]) -> Micro:
    """A pack as a step of its own."""
    packs = ((pack.stream, pack.number),)
    place = Place(step=0, samples_seen=0, micro=0, micros=1, packs=packs, step_weight=pack.weight)
    return Micro(place=place, packs=(pack,), captions=captions)
