"""Which packs make step s, and which of them a rank takes: a pure function of the streams' packs.

- A step has `packs` packs, as many of every stream. Over a window of steps packs are regrouped so that those of one
  step cost about the same: equal tokens are not equal time, and the slowest rank sets the pace.
- Packs are dealt to micro-batches before ranks are: a micro-batch has the same contents for any number of ranks.
- There is nothing to save: to begin at a step, the steps before it are replayed from the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datamodules.packs import Pack
from dit_video.batch import Place
from dit_video.errors import ConfigError
from dit_video.seeds import rng


@dataclass(frozen=True, kw_only=True)
class Step:
    """All packs of optimizer step `number`, for all ranks; `samples_seen` includes this step."""

    number: int
    samples_seen: int
    packs: tuple[Pack, ...]

    @property
    def weight(self) -> float:
        """Loss weight of the whole step."""
        return sum(pack.weight for pack in self.packs)


@dataclass(frozen=True, kw_only=True)
class Micro:
    """What a loader makes one micro-batch of; the captions are chosen, one an item, pack after pack."""

    place: Place
    packs: tuple[Pack, ...]
    captions: tuple[str, ...] = ()


def steps(streams: Sequence[Iterator[Pack]], *, packs: int, window: int, seed: int) -> Iterator[Step]:
    """All steps from 0 on; `packs` is a multiple of the number of streams."""
    number = samples = turn = 0
    while True:
        pool = [next(stream) for _ in range(window * packs // len(streams)) for stream in streams]
        pool.sort(key=lambda pack: (pack.cost, pack.stream, pack.number))
        for place in rng(seed, "steps", turn).permutation(window).tolist():
            chosen = tuple(pool[place * packs : (place + 1) * packs])
            samples += sum(len(pack.items) for pack in chosen)
            yield Step(number=number, samples_seen=samples, packs=chosen)
            number += 1
        turn += 1


def micros(*, packs: int, micro: int, ranks: int) -> int:
    """Micro-batches a rank and step; ConfigError where packs do not divide evenly."""
    if packs < 1 or micro < 1 or packs % (micro * ranks):
        raise ConfigError(
            f"datamodules.packs={packs} a step must be a multiple of datamodules.micro={micro} times {ranks} ranks"
        )
    return packs // (micro * ranks)


def share(step: Step, *, micro: int, rank: int, ranks: int) -> Iterator[Micro]:
    """The micro-batches of a rank: every `ranks`-th, so that the ranks' costs are alike."""
    count = len(step.packs) // (micro * ranks)
    weight = step.weight
    for number in range(count):
        first = (number * ranks + rank) * micro
        chosen = step.packs[first : first + micro]
        place = Place(
            step=step.number,
            samples_seen=step.samples_seen,
            micro=number,
            micros=count,
            packs=tuple((pack.stream, pack.number) for pack in chosen),
            step_weight=weight,
        )
        yield Micro(place=place, packs=chosen)
