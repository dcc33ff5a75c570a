"""An epoch walked in columns against the same epoch dealt step by step, micro-batch by micro-batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.clips import ClipData
from datamodules.forecast.counts import counts
from datamodules.forecast.epoch import walk
from datamodules.latents import LatentData
from datamodules.order.steps import share

MIXED = {"none": 1.0, "first": 1.0, "prefix": 1.0, "suffix": 1.0}


def built(task: Any) -> Any:
    with torch.device("meta"):
        task.build()
    return task


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_an_epoch_is_the_one_that_is_dealt(finished: Path, dit: Any, ranks: int) -> None:
    data = LatentData(dataset={str(finished): 2.0}, length=300, packs=8, micro=2, window=2, workers=0, conditions=MIXED)
    found = counts(data, built(dit), sizes=None)
    epoch = walk(data.plan, found, ranks=ranks, samples=20)
    assert epoch.samples == sum(epoch.datasets) == 2 * len(data.chosen.rows)
    busy = span = padded = packs = 0.0
    seen: Counter[int] = Counter()
    steps = 0
    for window in data.plan.windows():
        for at in range(len(window)):
            step = window.step(at)
            times = [
                sum(
                    cost(found, data, window, pack)
                    for micro in share(window, at, micro=2, rank=rank, ranks=ranks)
                    for pack in micro.packs
                )
                for rank in range(ranks)
            ]
            busy, span = busy + sum(times), span + ranks * max(times)
            padded += sum(300 - sum(item.tokens for item in pack.items) for pack in step.packs)
            packs += len(step.packs)
            seen += Counter(int(found.code[item.row]) for pack in step.packs for item in pack.items)
            steps += step.samples_seen - sum(len(pack.items) for pack in step.packs) < epoch.samples
        if window.samples_seen[-1] >= epoch.samples:
            break
    assert epoch.steps == steps
    assert epoch.idle == pytest.approx(1 - busy / span)
    assert epoch.padding == pytest.approx(padded / packs / 300)
    scale = epoch.samples / seen.total()
    assert epoch.seen == pytest.approx([seen[code] * scale for code in range(len(found.shapes))])
    assert epoch.flops.sum() + epoch.pad_flops == pytest.approx(busy * scale)
    assert epoch.run_steps == sum(1 for _ in data.plan.run(step=0, samples=20))


def cost(found: Any, data: LatentData, window: Any, pack: Any) -> float:
    part = window.parts[pack.stream]
    units, flops = found.weigh(part[pack.number - part.first : pack.number - part.first + 1].items)
    return float(flops.sum() + found.pad(np.asarray([300 - units.sum()]))[0])


def test_one_rank_waits_for_nobody_and_batches_are_not_padded(finished: Path, vae: Any) -> None:
    data = ClipData(dataset=str(finished), sizes=["9x32x32", "17x32x48"], batch=2, packs=2, workers=0)
    epoch = walk(data.plan, counts(data, built(vae), sizes=None), ranks=1, samples=1000)
    assert (epoch.idle, epoch.padding, epoch.pad_flops) == (0.0, 0.0, 0.0)
    assert epoch.seen.sum() == pytest.approx(len(data.chosen.rows))
    assert epoch.run_steps == 250  # two batches of two clips a step
    assert len(epoch.fullest) == 2
