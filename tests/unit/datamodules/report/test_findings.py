"""Each thing that can be wrong with a dataset has its line, and a dataset without fault has none that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from datamodules.dataset import buckets
from datamodules.report.bucketed import place
from datamodules.report.captions import Kind
from datamodules.report.findings import GOOD, Facts, Finding, findings, listed
from datamodules.report.sidecars import Sidecar
from tests.unit.datamodules.report.conftest import Reader, dataset_of, plain

N = 40
TABLE = buckets.listed(["9x32x32"], time=4, multiple=16)
SCORES = {
    "motion": np.full(N, 0.3),
    "still": np.zeros(N),
    "brightness": np.full(N, 0.5),
    "duplicates.copy": np.zeros(N),
    "border_top": np.zeros(N),
}
CAPTIONS = Kind(
    name="source",
    words=np.full(N, 5.0),
    distinct=N,
    frequent={},
    vocabulary=9,
    drawn=N,
    same=N,
)


def facts(
    *,
    scores: Mapping[str, Any] | None = None,
    texts: dict[str, Any] | None = None,
    refused: Any = (),
    fps: float = 12.0,
    height: int = 32,
    **changed: Any,
) -> Facts:
    """What a dataset without fault gives, with some of it changed."""
    size = {"frames": np.full(N, 12), "height": np.full(N, height), "width": np.full(N, 32), "fps": np.full(N, fps)}
    found = dataset_of(texts=texts, scores={**SCORES, **(scores or {})}, refused=refused, **size)
    whole = Facts(
        dataset=found,
        placed=place(found, TABLE, fps=12.0),
        kinds=[CAPTIONS],
        sidecars=[Sidecar(name="latents/a", shards=1, bytes=1, recipe={})],
        shown=3,
        failed=[],
        damaged=[],
        media=True,
    )
    return replace(whole, **changed)


def test_a_good_dataset_has_no_fault() -> None:
    assert {item.state for item in findings(facts())} == {GOOD}


some = np.where(np.arange(N) < N // 4, 1.0, 0.0)
FAULTS: dict[str, dict[str, Any]] = {
    "are pictures left out": {"media": False},
    "1 of 3 samples opened for this page cannot be read: hash": {"failed": ["hash"]},
    "scores/x: damaged": {"damaged": ["scores/x: damaged"]},
    "latents/a lacks 1 shard of 1": {"sidecars": [Sidecar(name="latents/a", shards=0, bytes=1, recipe={})]},
    "was made from another dataset": {
        "sidecars": [Sidecar(name="latents/a", shards=1, bytes=1, recipe={}, stale=True)]
    },
    "All samples come from one source, x": {"texts": {"source": ["x"] * N}},
    "9 of 49 raw files (18 %) gave nothing": {"refused": [(f"r{n}", "bad", float("nan")) for n in range(9)]},
    "No sample has a caption": {"kinds": []},
    "50 % of the samples have no caption": {
        "kinds": [replace(CAPTIONS, words=np.where(np.arange(N) % 2, 5.0, np.nan))]
    },
    "All captions of source are the same": {"kinds": [replace(CAPTIONS, frequent={"a": N})]},
    "25 % of the samples repeat most of their frames": {"scores": {"still": some}},
    "25 % of the clips hardly move": {"scores": {"motion": 1 - some}},
    "25 % of the samples are almost black": {"scores": {"brightness": 1 - some}},
    "files with black borders": {"scores": {"border_top": some}},
    "25 % of the samples are near copies": {"scores": {"duplicates.copy": some}},
    "too short for every bucket": {"fps": 60.0},
    "would be enlarged": {"height": 24},
    "of a picture is cropped away": {"height": 64},
}


@pytest.mark.parametrize("text", FAULTS)
def test_each_fault_has_its_line(text: str) -> None:
    found = [item for item in findings(facts(**FAULTS[text])) if item.state != GOOD]
    expected = text.replace("are pictures left out", "pictures are left out")
    assert any(expected in plain(item.text) for item in found), [item.text for item in found]


def test_filters_together_leave_what_none_of_them_drops() -> None:
    other = np.where(np.arange(N) >= N - 2, 1.0, 0.0)
    found = findings(facts(scores={"still": some, "duplicates.copy": other}))
    assert any(f"filters {N - N // 4 - 2} samples are left (70 %" in plain(item.text) for item in found)


def test_without_scores_that_is_said_and_nothing_else_of_them() -> None:
    whole = facts()
    bare = replace(whole, dataset=replace(whole.dataset, scores={}))
    said = [item.text for item in findings(bare) if item.state != GOOD]
    assert len(said) == 2
    assert "no scores" in said[0]
    assert "duplicates were not looked for" in said[1]


def test_lines_are_text_with_settings_as_code() -> None:
    html = listed([Finding(state=GOOD, text="<b> set datamodules.filter.still=[null,0.5] so", anchor="scores")])
    assert "<code>datamodules.filter.still=[null,0.5]</code> so" in html
    assert "&lt;b&gt;" in html
    assert 'href="#scores"' in html
    assert listed([]) == ""
    Reader(html)
