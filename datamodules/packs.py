"""Packs: which samples share a micro-batch, by the index alone, before any pixel is read.

- `pack` fills sequences of at most L tokens from a stream, looking a few samples ahead for one that still fits.
- `group` collects clips of one bucket until a batch is full.
- A sample that opens a pack is always the oldest that waits, so none waits for long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A sample in its place: `row` of the index, `ordinal` in its stream, and what it costs.

    `weight` counts its tokens (or clips) with loss; `cost` is its time, up to a factor; `pattern` and `cut` are the
    conditioning of a latent clip; `kind` is the bucket of a clip in pixels.
    """

    row: int
    ordinal: int
    tokens: int = 1
    weight: float = 1.0
    cost: float = 1.0
    pattern: str = "none"
    cut: int = 0
    kind: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Samples that share a sequence or a batch: pack `number` of `stream`."""

    stream: int
    number: int
    items: tuple[Item, ...]

    @property
    def weight(self) -> float:
        """Loss weight of all items."""
        return sum(item.weight for item in self.items)

    @property
    def cost(self) -> float:
        """Time of all items, up to a factor."""
        return sum(item.cost for item in self.items)


def pack(items: Iterable[Item], *, stream: int, length: int, lookahead: int) -> Iterator[Pack]:
    """Packs of at most `length` tokens; of the next `lookahead` samples the first that fits is taken."""
    source, waiting, number = iter(items), deque[Item](), 0
    taken: list[Item] = []
    room = length
    while True:
        while len(waiting) < lookahead and (item := next(source, None)) is not None:
            waiting.append(item)
        place = next((at for at, item in enumerate(waiting) if item.tokens <= room), None)
        if place is not None:
            taken.append(waiting[place])
            room -= waiting[place].tokens
            del waiting[place]
            continue
        if taken:
            yield Pack(stream=stream, number=number, items=tuple(taken))
            number, taken, room = number + 1, [], length
        elif waiting:
            raise AssertionError(f"a sample of {waiting[0].tokens} tokens does not fit into {length}")
        else:
            return


def group(items: Iterable[Item], *, stream: int, batch: int) -> Iterator[Pack]:
    """Batches of `batch` samples of one kind, in the order in which they fill up."""
    waiting: dict[int, list[Item]] = {}
    number = 0
    for item in items:
        same = waiting.setdefault(item.kind, [])
        same.append(item)
        if len(same) == batch:
            yield Pack(stream=stream, number=number, items=tuple(waiting.pop(item.kind)))
            number += 1
