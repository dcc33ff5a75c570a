"""Histograms count every value, and a threshold says exactly what it drops."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import numpy as np
import pytest

from datamodules.report.histogram import STOPS, Axis, histogram, shares, stops
from dit_video.page.plots import LEFT, NARROW, Scale
from tests.unit.datamodules.report.conftest import Reader

RNG = np.random.default_rng(0)
SPREADS = {
    "normal": RNG.normal(size=2000),
    "lognormal": RNG.lognormal(0, 2, 2000),
    "zeros and some": np.where(RNG.random(2000) < 0.9, 0.0, RNG.random(2000)),
    "few whole numbers": RNG.integers(0, 5, 2000).astype(float),
    "one value": np.full(7, 3.0),
    "all zero": np.zeros(5),
    "a single one": np.array([0.25]),
    "an outlier": np.append(RNG.random(2000), 1e9),
    "large": RNG.random(100) * 1e12,
    "tiny": RNG.random(100) * 1e-12,
}


def drawn(values: np.ndarray, seconds: np.ndarray | None = None, **about: Any) -> tuple[str, dict[str, Any]]:
    """A histogram, and what its script is told."""
    html = histogram(values, np.ones(len(values)) if seconds is None else seconds, Axis(name="n", **about))
    Reader(html)
    return html, json.loads(unescape(re.findall(r"data-spread='(.*?)'", html)[0]))


@pytest.mark.parametrize("name", SPREADS)
def test_every_value_is_in_one_bar_inside_the_plot(name: str) -> None:
    html, _ = drawn(SPREADS[name])
    counts = re.findall(r": ([\d,]+) clips</title>", html)
    assert sum(int(text.replace(",", "")) for text in counts) == len(SPREADS[name])
    places = re.findall(r'<rect class="pile" x="([-\d.]+)" width="([-\d.]+)"', html)
    assert all(float(x) >= LEFT and float(x) + float(width) <= NARROW for x, width in places)


@pytest.mark.parametrize("name", SPREADS)
def test_a_threshold_drops_what_it_says(name: str) -> None:
    values, seconds = SPREADS[name], np.random.default_rng(1).random(len(SPREADS[name])) * 3600
    _, about = drawn(values, seconds)
    assert len(about["values"]) == STOPS + 1
    for at in range(0, STOPS + 1, 17):
        limit = about["values"][at]
        assert about["below"][at] == (values < limit).sum()
        assert about["above"][at] == (values > limit).sum()
        assert about["hours"][0][at] == pytest.approx(seconds[values < limit].sum() / 3600, rel=1e-3, abs=1e-6)
        assert about["hours"][1][at] == pytest.approx(seconds[values > limit].sum() / 3600, rel=1e-3, abs=1e-6)


def test_unknown_values_are_counted_apart_and_none_draws_nothing() -> None:
    html, about = drawn(np.array([1.0, np.nan, 2.0, np.inf]))
    assert about["n"] == 2
    assert "2 unknown" in html
    assert histogram(np.full(3, np.nan), np.ones(3), Axis(name="n")) == ""


def test_decades_make_the_axis_logarithmic_and_marks_name_their_places() -> None:
    assert "log scale" in drawn(SPREADS["lognormal"])[0]
    assert "log scale" not in drawn(SPREADS["normal"])[0]
    assert "16:9" in drawn(np.linspace(0.5, 2, 50), marks={16 / 9: "16:9"})[0]


def test_thresholds_are_what_a_person_would_type_and_rise() -> None:
    for scale in (Scale(0.0, 1.0, 0, 1), Scale(0.001, 30.0, 0, 1, logarithmic=True)):
        values = stops(scale)
        assert (np.diff(values) >= 0).all()
        assert max(len(f"{value:.10g}".replace("0.", "").lstrip("0")) for value in values) <= 4


def test_shares_are_of_the_total_and_text_is_no_markup() -> None:
    html = shares({"<b>": (3, "note"), "other": (1, "")}, total=8)
    assert "38 %" in Reader(html).text
    assert "&lt;b&gt;" in html
