"""Copies stand beside what they copy, wherever both lie."""

from __future__ import annotations

import re

import numpy as np

from datamodules.report.duplicates import PAIRS, duplicates
from datamodules.report.thumbs import Thumbs
from tests.unit.datamodules.report.conftest import Reader, dataset_of

N = 60


def test_every_pair_is_of_one_group() -> None:
    rng = np.random.default_rng(0)
    group = np.where(rng.random(N) < 0.6, rng.integers(0, 12, N), -1)
    first = {int(number): int(np.flatnonzero(group == number)[0]) for number in set(group.tolist()) - {-1}}
    copy = np.array([float(number >= 0 and first[number] != row) for row, number in enumerate(group.tolist())])
    scores = {"duplicates.group": group, "duplicates.copy": copy, "duplicates.distance": rng.integers(0, 9, N)}
    size = dict.fromkeys(("height", "width", "fps"), np.full(N, 32.0))
    found = dataset_of(scores=scores, seconds=np.ones(N), **size)
    html = duplicates(found, Thumbs(dataset=found))
    pairs = re.findall(r'class="pair">.*?<span>key (\d+)</span>.*?<span>key (\d+)</span>', html)
    assert len(pairs) == PAIRS
    for kept, other in pairs:
        assert group[int(kept)] == group[int(other)] >= 0
        assert (copy[int(kept)], copy[int(other)]) == (0, 1)
    text = Reader(html).text
    assert f"{int(copy.sum())} samples" in text
    assert f"{sum(1 for n in first if (group == n).sum() > 1)} groups" in text or "groups" in text


def test_what_is_missing_is_said() -> None:
    found = dataset_of(frames=[9, 9])
    assert "step=duplicates" in duplicates(found, Thumbs(dataset=found, there=False))
    none = dataset_of(scores={"duplicates.group": [-1, -1], "duplicates.copy": [0, 0]})
    assert "None were found" in duplicates(none, Thumbs(dataset=none, there=False))


def test_a_copy_whose_original_is_gone_is_counted_and_not_paired() -> None:
    scores = {"duplicates.group": [-1, 4, 9], "duplicates.copy": [0, 1, 1], "duplicates.distance": [0, 1, 2]}
    found = dataset_of(scores=scores, height=[9] * 3, width=[9] * 3)
    html = duplicates(found, Thumbs(dataset=found))
    assert "2 samples" in html
    assert 'class="pair"' not in html
