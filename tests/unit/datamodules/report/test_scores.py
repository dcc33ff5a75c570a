"""Ladders rise from the least to the most of a score; what is the same for all is said in a line."""

from __future__ import annotations

import re

import numpy as np

from datamodules.dataset.columns import Texts
from datamodules.report.scores import ALIKE, ENDS, border, ladder, scores, varied
from datamodules.report.style import SCRIPT
from datamodules.report.thumbs import Thumbs
from tests.unit.datamodules.report.conftest import Reader, dataset_of, plain


def test_a_ladder_rises_and_has_the_least_and_the_most() -> None:
    values = np.random.default_rng(0).permutation(500).astype(float)
    values[3] = np.nan
    rows = list(ladder(values, Texts([str(row) for row in range(500)])))
    assert (np.diff(values[rows]) > 0).all()
    assert values[rows[0]] == np.nanmin(values)
    assert values[rows[-1]] == np.nanmax(values)
    assert 3 not in rows


def test_a_ladder_shows_few_of_one_value_and_says_the_share_below() -> None:
    values = np.concatenate([np.zeros(90), np.arange(1.0, 11)])
    found = ladder(values, Texts(["a"] * 100))
    assert sum(values[row] == 0 for row in found) == ALIKE
    assert plain(found[99]) == "99.0 % below"


def test_ends_are_of_many_sources() -> None:
    assert varied(["a", "a", "b", "a", "c"], most=3) == [0, 2, 4]
    assert varied(["a", "a"], most=3) == [0, 1]
    rows = ladder(np.arange(100.0), Texts(["a"] * 10 + [f"s{row}" for row in range(90)]))
    assert {0, 10, 11, 12} <= set(rows)
    assert 1 not in rows or len(rows) > 2 * ENDS + 7


def test_every_score_has_a_plot_with_its_filter_key() -> None:
    given = {"motion": [0.1, 0.2, np.nan], "odd": [1.0, 2.0, 3.0], "same": [1.0, 1.0, 1.0], "hdr": [0.0, 1.0, 0.0]}
    found = dataset_of(frames=[9, 9, 1], seconds=[1, 1, 0], scores=given | {"duplicates.copy": [0.0, 0.0, 1.0]})
    html = scores(found, Thumbs(dataset=found, there=False))
    reader = Reader(html)
    assert reader.anchors == {"score-motion", "score-odd"}
    assert set(re.findall(r"&quot;filter&quot;:&quot;(.*?)&quot;", html)) == {"motion", "odd"}
    assert "same (always 1)" in reader.text
    assert "high dynamic range" in reader.text


def test_names_of_scores_are_text_in_the_page_and_in_its_script() -> None:
    found = dataset_of(frames=[9, 9], scores={"<img src=x>'\"": [0.1, 0.2]})
    reader = Reader(scores(found, Thumbs(dataset=found, there=False)))
    assert "img" not in reader.count
    assert "innerHTML" not in SCRIPT


def test_a_dataset_without_scores_says_so() -> None:
    found = dataset_of(frames=[9])
    assert "no scores" in scores(found, Thumbs(dataset=found, there=False))


def test_borders_are_an_area() -> None:
    sides = {"border_top": [0.1], "border_bottom": [0.1], "border_left": [0.25], "border_right": [0.25]}
    np.testing.assert_allclose(border(dataset_of(scores=sides)), 1 - 0.8 * 0.5)
