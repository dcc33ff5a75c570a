"""Which packs make step s, and which of them a rank takes: a pure function of the streams' packs.

- A step has `packs` packs, as many of every stream. Over a window of steps packs are regrouped so that those of one
  step cost about the same: equal tokens are not equal time, and the slowest rank sets the pace.
- Packs are dealt to micro-batches before ranks are: a micro-batch has the same contents for any number of ranks.
- There is nothing to save: to begin at a step, the steps before it are replayed from the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datamodules.order.packs import Pack, Packs, joined
from dit_video.batch import Place
from dit_video.errors import ConfigError
from dit_video.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Step:
    """All packs of optimizer step `number`, for all ranks; `samples_seen` includes this step."""

    number: int
    samples_seen: int
    packs: tuple[Pack, ...]


@dataclass(frozen=True, kw_only=True)
class Micro:
    """What a loader makes one micro-batch of; the captions are chosen, one an item, pack after pack."""

    place: Place
    packs: tuple[Pack, ...]
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Window:
    """The packs of some steps that follow one another, from step `first` on.

    `parts` has as many packs of every stream; the columns `stream`, `number`, `items`, `tokens`, `weight` and `cost`
    are (steps, packs), each step's packs by rising cost; `samples_seen` (steps,) includes the step.
    """

    first: int
    parts: tuple[Packs, ...]
    stream: NDArray[np.int64]
    number: NDArray[np.int64]
    items: NDArray[np.int64]
    tokens: NDArray[np.float64]
    weight: NDArray[np.float64]
    cost: NDArray[np.float64]
    samples_seen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stream)

    def pack(self, at: int, which: int) -> Pack:
        """A pack of step number first + at."""
        part = self.parts[int(self.stream[at, which])]
        return part.pack(int(self.number[at, which]) - part.first)

    def step(self, at: int) -> Step:
        """Step number first + at."""
        packs = tuple(self.pack(at, which) for which in range(self.stream.shape[1]))
        return Step(number=self.first + at, samples_seen=int(self.samples_seen[at]), packs=packs)


class Feed:
    """Packs of a stream, taken some at a time."""

    def __init__(self, packs: Iterator[Packs]) -> None:
        self.packs = packs
        self.rest: list[Packs] = []

    def take(self, count: int) -> Packs:
        """The next `count` packs."""
        while sum(map(len, self.rest)) < count:
            self.rest.append(next(self.packs))
        whole = joined(self.rest)
        self.rest = [whole[count:]]
        return whole[:count]


def windows(
    streams: Sequence[Iterator[Packs]], *, packs: int, window: int, seed: int, first: int = 0
) -> Iterator[Window]:
    """All windows of steps, from the one that step `first` is in; `packs` is a multiple of the number of streams."""
    feeds, samples, turn = [Feed(stream) for stream in streams], 0, 0
    each = window * packs // len(streams)
    while True:
        parts = tuple(feed.take(each) for feed in feeds)
        if (turn + 1) * window > first:
            yield regroup(parts, packs=packs, window=window, seed=seed, turn=turn, samples=samples)
        samples += sum(len(part.items) for part in parts)
        turn += 1


def regroup(parts: tuple[Packs, ...], *, packs: int, window: int, seed: int, turn: int, samples: int) -> Window:
    """The steps of one window, after `samples` samples: packs by cost, the steps in a random order."""
    columns = {
        "stream": np.concatenate([np.full(len(part), part.stream) for part in parts]),
        "number": np.concatenate([part.first + np.arange(len(part)) for part in parts]),
        "items": np.concatenate([part.counts for part in parts]),
        "tokens": np.concatenate([part.sums(part.items.tokens) for part in parts]),
        "weight": np.concatenate([part.sums(part.items.weight) for part in parts]),
        "cost": np.concatenate([part.sums(part.items.cost) for part in parts]),
    }
    by_cost = np.lexsort((columns["number"], columns["stream"], columns["cost"]))
    places = by_cost.reshape(window, packs)[rng(seed, "steps", turn).permutation(window)]
    dealt = {name: column[places] for name, column in columns.items()}
    seen = samples + np.cumsum(dealt["items"].sum(1))
    return Window(first=turn * window, parts=parts, samples_seen=seen, **dealt)


def micros(*, packs: int, micro: int, ranks: int) -> int:
    """Micro-batches a rank and step; ConfigError where packs do not divide evenly."""
    if packs < 1 or micro < 1 or packs % (micro * ranks):
        raise ConfigError(
            f"datamodules.packs={packs} a step must be a multiple of datamodules.micro={micro} times {ranks} ranks"
        )
    return packs // (micro * ranks)


def turns(*, count: int, ranks: int) -> NDArray[np.int64]:
    """Which of a step's micro-batches, by rising cost, a rank takes, (ranks, count): to and fro, so sums are alike."""
    dealt = np.arange(count * ranks).reshape(count, ranks)
    dealt[1::2] = dealt[1::2, ::-1]
    return dealt.T


def share(window: Window, at: int, *, micro: int, rank: int, ranks: int) -> Iterator[Micro]:
    """The micro-batches of a rank in step number first + `at` of a window."""
    count = window.stream.shape[1] // (micro * ranks)
    weight = float(window.weight[at].sum())
    for number, place in enumerate(turns(count=count, ranks=ranks)[rank].tolist()):
        packs = tuple(window.pack(at, which) for which in range(place * micro, (place + 1) * micro))
        where = Place(
            step=window.first + at,
            samples_seen=int(window.samples_seen[at]),
            micro=number,
            micros=count,
            packs=tuple((pack.stream, pack.number) for pack in packs),
            step_weight=weight,
        )
        yield Micro(place=where, packs=packs)
