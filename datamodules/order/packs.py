"""Packs: which samples share a micro-batch, by the index alone, before any pixel is read.

- `Fill` fills sequences of at most L tokens from a stream. The sample that waits longest opens a pack; then, again and
  again, the one or two of the next few that fill it best. So none waits for long, and next to nothing is padded.
- `Group` collects clips of one bucket until a batch is full.
- All is done in columns, thousands of samples at a time: to begin a run at step 100,000 is to pack all before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numba import njit

from datamodules.order.conditions import PATTERNS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Item(NamedTuple):
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


@dataclass(frozen=True, kw_only=True)
class Items:
    """Samples in columns; the fields of `Item`, with `pattern` as a place in PATTERNS."""

    row: NDArray[np.int64]
    ordinal: NDArray[np.int64]
    tokens: NDArray[np.int64]
    weight: NDArray[np.float64]
    cost: NDArray[np.float64]
    pattern: NDArray[np.int64]
    cut: NDArray[np.int64]
    kind: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Items:
        return Items(**{name: column[rows] for name, column in self.__dict__.items()})

    def records(self) -> tuple[Item, ...]:
        """The samples one by one."""
        columns = {name: getattr(self, name).tolist() for name in Item._fields}
        columns["pattern"] = [PATTERNS[code] for code in columns["pattern"]]
        return tuple(map(Item._make, zip(*columns.values(), strict=True)))


def items(
    row: NDArray[np.int64], ordinal: NDArray[np.int64], **given: NDArray[np.int64] | NDArray[np.float64]
) -> Items:
    """Items with the defaults of `Item` for the columns that are not given."""
    n = len(row)
    plain = {"tokens": np.ones(n, np.int64), "weight": np.ones(n), "cost": np.ones(n)}
    zeros = {name: np.zeros(n, np.int64) for name in ("pattern", "cut", "kind")}
    return Items(row=row, ordinal=ordinal, **{**plain, **zeros, **given})  # type: ignore[arg-type]


def concatenated(parts: Sequence[Items]) -> Items:
    """Items one after the other."""
    return Items(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Items)}
    )


class Pack(NamedTuple):
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


@dataclass(frozen=True, kw_only=True)
class Packs:
    """Packs of a stream in columns, from number `first` on: pack i has the items between ends[i - 1] and ends[i]."""

    stream: int
    first: int
    items: Items
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, part: slice) -> Packs:
        start, stop, _ = part.indices(len(self))
        first, last = self.bound(start), self.bound(max(stop, start))
        return Packs(
            stream=self.stream, first=self.first + start, items=self.items[first:last], ends=self.ends[part] - first
        )

    def bound(self, at: int) -> int:
        """Where pack `at` begins among the items."""
        return int(self.ends[at - 1]) if at else 0

    def sums(self, column: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
        """A column of the items added up by pack."""
        starts = np.concatenate([[0], self.ends[:-1]]).astype(np.int64)
        return np.add.reduceat(column.astype(np.float64), starts) if len(starts) else np.empty(0)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Items of each pack."""
        return np.diff(self.ends, prepend=0)

    def pack(self, at: int) -> Pack:
        """Pack number first + at."""
        chosen = self.items[self.bound(at) : int(self.ends[at])]
        return Pack(stream=self.stream, number=self.first + at, items=chosen.records())


class Packer(Protocol):
    """Which of the items that wait, in order, make whole packs now."""

    def __call__(self, waiting: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the items, pack after pack, and where each pack ends among them. What is left waits on.

        The packs must not depend on how the stream was parted: they are those of one call with all of it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Sequences of at most `length` tokens, each chosen among the `lookahead` samples that wait longest.

    A pack has its samples by length: what is equally long attends in one batch.
    """

    length: int
    lookahead: int

    def __call__(self, waiting: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `Packer`."""
        tokens = waiting.tokens
        if len(tokens) and int(tokens.max()) > self.length:
            raise AssertionError(f"a sample of {tokens.max()} tokens does not fit into {self.length}")
        if len(tokens) and int(tokens.min()) < 1:  # the packs of it have no end, nor the memory they are written to
            raise AssertionError(f"a sample has {tokens.min()} tokens")
        order, ends = fill(tokens, self.length, max(self.lookahead, 1))
        pack = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        return order[np.lexsort((tokens[order], pack))], ends


@njit(cache=True)  # type: ignore[untyped-decorator]
def fill(tokens: NDArray[np.int64], length: int, lookahead: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the items of whole packs, and their ends; a pack is whole once no sample that may join it is unseen."""
    count, seen, packed, made = len(tokens), 0, 0, 0
    order, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    near, sizes, size = np.empty(lookahead, np.int64), np.empty(lookahead, np.int64), 0
    room = length
    while True:
        while size < lookahead and seen < count:
            near[size] = seen
            insert(sizes, size, tokens[seen])
            size += 1
            seen += 1
        if size < lookahead:  # what comes next might be chosen: the open pack waits for it
            break
        first, second = (tokens[near[0]], 0) if room == length else best(sizes, size, room)
        if first == 0:
            ends[made] = packed
            made += 1
            room = length
            continue
        for chosen in (first, second):
            if chosen > 0:
                order[packed] = take(near, sizes, size, tokens, chosen)
                packed += 1
                size -= 1
                room -= chosen
    whole = ends[made - 1] if made else 0
    return order[:whole], ends[:made]


@njit(cache=True)  # type: ignore[untyped-decorator]
def best(sizes: NDArray[np.int64], size: int, room: int) -> tuple[int, int]:
    """The one or two of rising `sizes` that fill `room` best, one rather than two, unlike rather than alike; or 0s."""
    first, second = 0, 0
    for at in range(size):
        if sizes[at] <= room:
            first = sizes[at]
    low, high = 0, size - 1
    while low < high:
        both = sizes[low] + sizes[high]
        if both > room:
            high -= 1
        else:
            if both > first + second:
                first, second = sizes[high], sizes[low]
            low += 1
    return first, second


@njit(cache=True)  # type: ignore[untyped-decorator]
def insert(sizes: NDArray[np.int64], size: int, value: int) -> None:
    """Put `value` in its place among `size` rising ones."""
    at = size
    while at > 0 and sizes[at - 1] > value:
        sizes[at] = sizes[at - 1]
        at -= 1
    sizes[at] = value


@njit(cache=True)  # type: ignore[untyped-decorator]
def take(near: NDArray[np.int64], sizes: NDArray[np.int64], size: int, tokens: NDArray[np.int64], value: int) -> int:
    """Take the oldest of the samples in `near` that has `value` tokens; its place."""
    at = 0
    while tokens[near[at]] != value:
        at += 1
    chosen = near[at]
    for left in range(at, size - 1):
        near[left] = near[left + 1]
    at = 0
    while sizes[at] != value:
        at += 1
    for left in range(at, size - 1):
        sizes[left] = sizes[left + 1]
    return int(chosen)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Batches of `batch` samples of one kind, in the order in which they fill up."""

    batch: int

    def __call__(self, waiting: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `Packer`."""
        by_kind = np.argsort(waiting.kind, kind="stable")
        kinds = waiting.kind[by_kind]
        starts = np.searchsorted(kinds, kinds)
        nth = np.arange(len(kinds)) - starts
        whole = np.searchsorted(kinds, kinds, side="right") - starts
        kept = by_kind[nth < whole // self.batch * self.batch].reshape(-1, self.batch)
        kept = kept[np.argsort(kept[:, -1])]
        return kept.reshape(-1), np.arange(1, len(kept) + 1) * self.batch


def pack(stretches: Iterable[Items], packer: Packer, *, stream: int) -> Iterator[Packs]:
    """Packs of a stream's items, as far as each stretch completes them."""
    waiting, number = None, 0
    for stretch in stretches:
        waiting = stretch if waiting is None else concatenated([waiting, stretch])
        order, ends = packer(waiting)
        yield Packs(stream=stream, first=number, items=waiting[order], ends=ends)
        number += len(ends)
        left = np.ones(len(waiting), bool)
        left[order] = False
        waiting = waiting[left]


def joined(parts: Sequence[Packs]) -> Packs:
    """Packs of a stream that follow one another as one."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.items) for part in parts[:-1])])
    ends = np.concatenate([part.ends + start for part, start in zip(parts, starts, strict=True)])
    whole = concatenated([part.items for part in parts])
    return Packs(stream=parts[0].stream, first=parts[0].first, items=whole, ends=ends)
