from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest

from datamodules.order.packs import Packs, items
from datamodules.order.steps import Step, Window, micros, share, turns, windows
from dit_video.errors import ConfigError


def stream(number: int) -> Iterator[Packs]:
    rng = np.random.default_rng(number)
    first = 0
    for turn in count():
        ends = np.cumsum(1 + np.arange(1 + turn % 5) % 3)
        rows = np.arange(int(ends[-1]))
        made = items(rows, rows, cost=rng.integers(1, 100, len(rows)).astype(float), weight=np.full(len(rows), 2.0))
        yield Packs(stream=number, first=first, items=made, ends=ends)
        first += len(ends)


def made(n: int, *, window: int = 4, first: int = 0) -> list[Window]:
    return list(islice(windows([stream(s) for s in range(3)], packs=6, window=window, seed=0, first=first), n))


def steps(n: int, *, window: int = 4) -> list[Step]:
    return [found.step(at) for found in made(n, window=window) for at in range(window)]


def test_a_window_of_steps_takes_as_many_packs_of_every_stream() -> None:
    for turn, window in enumerate(made(2)):
        names = sorted(zip(window.stream.ravel().tolist(), window.number.ravel().tolist(), strict=True))
        assert names == [(s, n) for s in range(3) for n in range(turn * 8, turn * 8 + 8)]


def test_columns_of_a_window_are_those_of_its_packs() -> None:
    for window in made(3):
        for at in range(len(window)):
            packs = window.step(at).packs
            assert window.cost[at].tolist() == [pack.cost for pack in packs] == sorted(window.cost[at].tolist())
            assert window.weight[at].tolist() == [pack.weight for pack in packs]
            assert window.items[at].tolist() == [len(pack.items) for pack in packs]


def test_packs_of_a_step_cost_about_the_same() -> None:
    def spread(window: int) -> float:
        return float(np.mean([np.ptp(found.cost, axis=1).mean() for found in made(32 // window, window=window)]))

    assert spread(8) < 0.4 * spread(1)


def test_samples_seen_counts_all_packs() -> None:
    seen = 0
    for number, step in enumerate(steps(3)):
        seen += sum(len(pack.items) for pack in step.packs)
        assert (step.number, step.samples_seen) == (number, seen)


def test_to_begin_later_is_to_leave_out_what_came_before() -> None:
    late = made(1, first=9)[0]
    assert late.first == 8
    assert [late.step(at) for at in range(4)] == steps(3)[8:]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_same_micro_batches(ranks: int) -> None:
    (window,), step = made(1), steps(1)[0]
    parts = [list(share(window, 0, micro=1, rank=rank, ranks=ranks)) for rank in range(ranks)]
    for number in range(6 // ranks):
        alike = {part[number].packs[0] for part in parts}
        assert alike == set(step.packs[number * ranks : (number + 1) * ranks])
    for part in parts:
        assert [micro.place.micro for micro in part] == list(range(6 // ranks))
        assert {micro.place.micros for micro in part} == {6 // ranks} == {micros(packs=6, micro=1, ranks=ranks)}
        assert {micro.place.step_weight for micro in part} == {sum(pack.weight for pack in step.packs)}


def test_sums_of_ranks_are_alike() -> None:
    cost = np.arange(64.0)
    sums = cost[turns(count=8, ranks=8)].sum(1)
    assert np.ptp(sums) == 0
    assert sorted(turns(count=8, ranks=8).ravel().tolist()) == list(range(64))


def test_packs_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.packs=6"):
        micros(packs=6, micro=1, ranks=4)
