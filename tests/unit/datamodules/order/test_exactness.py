"""The promise of the order: one sequence of (step, sample, caption, noise), whoever reads it and wherever it begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from datamodules.clips import ClipData
from datamodules.latents import LatentData
from dit_video.batch import PackBatch
from dit_video.flow.levels import Levels
from dit_video.flow.matching import corrupt

Line = tuple[Any, ...]
EPOCH = 30 + 2 * 4  # samples of both datasets, those of the second twice


def packs(mixed: dict[str, float], **changes: object) -> LatentData:
    given = {"dataset": mixed, "length": 300, "packs": 8, "streams": 8, "window": 4, "workers": 0, "lookahead": 8}
    return LatentData(**{**given, "validation": 0.0, "dropout": 0.3, **changes})


def clips(mixed: dict[str, float], **changes: object) -> ClipData:
    given = {"dataset": mixed, "batch": 2, "packs": 8, "streams": 8, "window": 4, "workers": 0, "pixels": 2304}
    return ClipData(**{**given, "multiple": 8, "validation": 0.0, "dropout": 0.3, **changes})


def lines(batch: Any) -> Iterator[Line]:
    """A line a sample: step, samples seen, pack, key, caption, and a hash over the noisy tokens (or the pixels)."""
    (name,) = batch.place.packs
    content = corrupt(batch, levels=Levels(), seed=0).noisy if isinstance(batch, PackBatch) else batch.video
    digest = hashlib.sha256(content.numpy().tobytes()).hexdigest()[:12]
    for key, text in zip(batch.keys, batch.captions, strict=True):
        yield (batch.place.step, batch.place.samples_seen, *name, key, text, digest)


def sequence(made: Any, *, samples: int, step: int = 0, ranks: int = 1) -> list[Line]:
    """What all ranks together read."""
    found: list[Line] = []
    for rank in range(ranks):
        made.begin(step, samples, rank, ranks)
        found += [line for batch in made.train_dataloader() for line in lines(batch)]
    return sorted(found)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # three workers on two cores
@pytest.mark.parametrize("make", [packs, clips])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_ranks_and_workers_change_nothing(make: Callable[..., Any], workers: int, mixed: dict[str, float]) -> None:
    alone = sequence(make(mixed), samples=2 * EPOCH)
    assert len({line[-1] for line in alone}) > 20
    for ranks in (1, 2, 4, 8):
        assert sequence(make(mixed, workers=workers), samples=2 * EPOCH, ranks=ranks) == alone


@pytest.mark.parametrize("make", [packs, clips])
def test_a_run_that_begins_anywhere_goes_on_exactly(make: Callable[..., Any], mixed: dict[str, float]) -> None:
    alone = sequence(make(mixed), samples=20 * EPOCH)
    seen = {line[0]: line[1] for line in alone}
    assert max(seen) >= 20
    for step in np.random.default_rng(0).integers(1, max(seen) + 1, 20).tolist():
        last = min(step + 2, max(seen))
        rest = [line for line in alone if step <= line[0] <= last]
        for _ in range(2):
            assert sequence(make(mixed), samples=seen[last], step=step) == rest


@pytest.mark.parametrize("make", [packs, clips])
def test_epochs_hold_every_sample_as_often_as_it_weighs(make: Callable[..., Any], mixed: dict[str, float]) -> None:
    made = make(mixed)
    taken: dict[tuple[int, int], int] = {}
    for window, at in made.plan.run(step=0, samples=8 * EPOCH):
        for pack in window.step(at).packs:
            for item in pack.items:
                assert (pack.stream, item.ordinal) not in taken
                taken[pack.stream, item.ordinal] = item.row
    expected = np.where(made.index.dataset == 1, 2, 1)
    begun, epochs = [0] * made.plan.order.streams, []
    for epoch in range(3):
        rows: list[int] = []
        for stream, first in enumerate(begun):
            dealt = np.concatenate([*made.plan.order.windows(stream, epoch), np.empty(0, np.int64)]).tolist()
            assert dealt == [taken[stream, first + at] for at in range(len(dealt))]
            begun[stream] += len(dealt)
            rows += dealt
        assert (np.bincount(rows, minlength=len(expected)) == expected).all()
        epochs.append(rows)
    assert epochs[0] != epochs[1] != epochs[2]
