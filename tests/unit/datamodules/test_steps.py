from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest

from datamodules.packs import Item, Pack
from datamodules.steps import micros, share, steps
from dit_video.errors import ConfigError


def stream(number: int) -> Iterator[Pack]:
    rng = np.random.default_rng(number)
    for at in count():
        items = tuple(Item(row=0, ordinal=i, cost=float(rng.integers(1, 100)), weight=2.0) for i in range(1 + at % 3))
        yield Pack(stream=number, number=at, items=items)


def made(n: int, *, window: int = 4) -> list:
    return list(islice(steps([stream(s) for s in range(3)], packs=6, window=window, seed=0), n))


def test_a_window_of_steps_takes_as_many_packs_of_every_stream() -> None:
    for first in (0, 4):
        names = [(pack.stream, pack.number) for step in made(8)[first : first + 4] for pack in step.packs]
        expected = [(s, n) for s in range(3) for n in range(first // 4 * 8, first // 4 * 8 + 8)]
        assert sorted(names) == expected


def test_packs_of_a_step_cost_about_the_same() -> None:
    def spread(window: int) -> float:
        return float(np.mean([np.ptp([pack.cost for pack in step.packs]) for step in made(32, window=window)]))

    assert spread(8) < 0.4 * spread(1)


def test_samples_seen_counts_all_packs() -> None:
    seen = 0
    for number, step in enumerate(made(9)):
        seen += sum(len(pack.items) for pack in step.packs)
        assert (step.number, step.samples_seen) == (number, seen)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_same_micro_batches(ranks: int) -> None:
    step = made(1)[0]
    parts = [list(share(step, micro=1, rank=rank, ranks=ranks)) for rank in range(ranks)]
    dealt = [micro.packs for turn in zip(*parts, strict=True) for micro in turn]
    assert dealt == [(pack,) for pack in step.packs]
    for part in parts:
        assert [micro.place.micro for micro in part] == list(range(6 // ranks))
        assert {micro.place.micros for micro in part} == {6 // ranks} == {micros(packs=6, micro=1, ranks=ranks)}
        assert {micro.place.step_weight for micro in part} == {step.weight}


def test_packs_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.packs=6"):
        micros(packs=6, micro=1, ranks=4)
