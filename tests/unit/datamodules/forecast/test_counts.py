"""What samples cost, against the count of what a real micro-batch of them computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from datamodules.clips import ClipData
from datamodules.forecast.counts import LatentCounts, counts
from datamodules.latents import LatentData
from dit_video.errors import ConfigError

MIXED = {"none": 1.0, "first": 1.0, "prefix": 1.0, "suffix": 1.0}
SIZES = ["17x32x48", "17x48x32", "9x32x32"]


def built(task: Any) -> Any:
    with torch.device("meta"):
        task.build()
    return task


def test_packs_cost_what_their_batches_compute(finished: Path, dit: Any) -> None:
    data = LatentData(dataset=str(finished), length=300, packs=2, micro=1, workers=0, conditions=MIXED)
    found = counts(data, built(dit), sizes=None)
    window = next(data.plan.windows())
    data.begin(0, 10, 0, 1)
    for batch, step in zip(
        data.train_dataloader(), (window.step(at) for at in range(2) for _ in range(2)), strict=False
    ):
        pack = step.packs[batch.place.micro]
        items = window.parts[pack.stream][pack.number : pack.number + 1].items
        units, flops = found.weigh(items)
        spare = np.asarray([300 - units.sum()])
        with FlopCounterMode(display=False) as counter:
            dit.rehearse(batch.to("meta"))
        assert units.tolist() == list(batch.layout.lengths[: len(units)])
        assert flops.sum() + found.pad(spare).sum() == counter.get_total_flops()
        hollow = found.hollow(items)
        assert hollow.layout.lengths == batch.layout.lengths
        assert (hollow.data.shape, hollow.layout.sample.shape) == (batch.data.shape, batch.layout.sample.shape)


def test_no_padding_costs_nothing(finished: Path, dit: Any) -> None:
    found = counts(LatentData(dataset=str(finished), length=300, workers=0), built(dit), sizes=None)
    assert (found.pad(np.array([0, 7])) > 0).tolist() == [False, True]


@pytest.mark.parametrize("name", ["vae", "recaptioner"])
def test_batches_cost_what_they_compute(finished: Path, name: str, request: pytest.FixtureRequest) -> None:
    task = built(request.getfixturevalue(name))
    data = ClipData(dataset=str(finished), sizes=SIZES, batch=2, packs=2, workers=0)
    found = counts(data, task, sizes=SIZES)
    data.begin(0, 8, 0, 1)
    for batch, step in zip(data.train_dataloader(), (s for s in data.plan.steps() for _ in s.packs), strict=False):
        rows = np.asarray([item.row for item in step.packs[batch.place.micro].items])
        units, flops = found.weigh(items_of(data, rows))
        with FlopCounterMode(display=False) as counter:
            task.rehearse(batch.to("meta"))
        assert flops.sum() == counter.get_total_flops()
        assert units.sum() == batch.video[:, 0].numel()
        assert found.hollow(items_of(data, rows)).video.shape == batch.video.shape
        assert found.share(items_of(data, rows)).max() >= 1 / data.batch


def items_of(data: ClipData, rows: np.ndarray) -> Any:
    return data.measure(0, rows, 0)


def test_a_bucket_by_hand_that_no_clip_falls_into_is_refused(finished: Path, vae: Any) -> None:
    sizes = [*SIZES, "17x96x96", "33x32x48"]
    data = ClipData(dataset=str(finished), sizes=sizes, workers=0)
    with pytest.raises(ConfigError, match=r"buckets (17x96x96, 33x32x48|33x32x48, 17x96x96); .*datamodules\.sizes"):
        counts(data, built(vae), sizes=sizes)
    assert len(counts(data, built(vae), sizes=None).shapes) == 3


def test_what_has_no_plan_is_refused(finished: Path, vae: Any) -> None:
    with pytest.raises(ConfigError, match="VAETask on latents"):
        LatentCounts(LatentData(dataset=str(finished), length=300), vae)
    with pytest.raises(ConfigError, match="dict has no plan"):
        counts({}, vae, sizes=None)
