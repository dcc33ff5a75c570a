"""A plan on paper: it fits a terminal, says everything, and the JSON says the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datamodules.forecast import Forecast, document, forecast, page
from datamodules.forecast.page import ROWS, amount, several
from datamodules.latents import LatentData


@pytest.fixture
def found(finished: Path, dit: Any) -> Forecast:
    data = LatentData(dataset=str(finished), length=300, packs=2, workers=0)
    return forecast(data, dit, name="a", samples=90, ranks=1, averages=True)


def test_a_page_has_every_bucket_and_every_reason(found: Forecast) -> None:
    lines = page(found).splitlines()
    named = [line.split()[0] for line in lines if line]
    assert [bucket.bucket for bucket in found.buckets] == named[2 : 2 + len(found.buckets)]
    for part in ("data", "left", "epoch", "run", "step", "balance", "model", "checkpoint", "memory", "time"):
        assert part in named
    assert all(reason in page(found) for reason in found.dropped)
    assert page(replace(found, tflops=2.0, seconds=3 * 3600 + 125.0)).endswith("3 h 2 min at 2 TFLOP/s a rank")


def test_a_mixture_is_told(found: Forecast) -> None:
    assert "mixed" not in page(found)
    two = replace(found, datasets={"there": found.epoch_samples * 0.25, "here": found.epoch_samples * 0.75})
    assert "mixed       25.0 % there; 75.0 % here" in page(two).splitlines()


def test_buckets_without_a_clip_are_told(found: Forecast) -> None:
    assert "no clip in  1x48x32, which step=encode was given" in page(found).splitlines()
    assert "no clip in" not in page(replace(found, empty=()))


def test_a_page_fits_a_terminal(found: Forecast) -> None:
    big = replace(
        found.buckets[0], bucket="157x1080x1920", clips=999_999_999, size=1e6, flops=9.99e17, memory=999 * 10**9
    )
    dropped = {f"a reason of some length, number {number}": 123_456_789 for number in range(5)}
    many = replace(found, buckets=(big,) * (ROWS + 5), dropped=dropped, samples=10**10, packs=4096, streams=4096)
    lines = page(many).splitlines()
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if line != line.rstrip()] == []
    assert sum(line.startswith("157x1080x1920") for line in lines) == ROWS
    assert "5 others" in page(many)


def test_the_document_is_the_forecast(found: Forecast) -> None:
    made = json.loads(document(found))
    assert made["memory"].pop("total") == found.memory.total
    assert made["traffic"].pop("total") == found.traffic.total == 0
    assert made["buckets"][0]["flops"] == found.buckets[0].flops
    assert made["dropped"] == found.dropped
    assert set(made) == set(Forecast.__dataclass_fields__)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 "), (7, "7 "), (74.72, "74.7 "), (999.4, "999 "), (999.6, "1 k"), (1536, "1.54 k"), (2.5e18, "2.5 E")],
)
def test_amounts_have_three_digits(value: float, text: str) -> None:
    assert amount(value) == text


def test_one_is_not_several() -> None:
    assert (several(1, "step"), several(1200, "step"), several(0, "batch", "es")) == (
        "1 step",
        "1,200 steps",
        "0 batches",
    )
