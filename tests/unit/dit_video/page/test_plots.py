"""Curves, dots and their axes stay inside the plot, whatever the values."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dit_video.page import plots


def test_smoothing_keeps_constants_and_lies_within_the_values() -> None:
    np.testing.assert_allclose(plots.smooth(np.full(500, 3.0)), 3.0)
    values = np.random.default_rng(0).normal(size=500)
    assert len(plots.smooth(values)) == 500
    assert plots.smooth(values).std() < 0.5 * values.std()
    assert plots.smooth(values)[250] == pytest.approx(values[244:257].mean())


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.013, 0.017), (-3.0, 12.0), (0.0, 130_000.0)])
def test_ticks_are_round_inside_and_about_as_many_as_asked(low: float, high: float) -> None:
    found = plots.ticks(low, high, count=5)
    assert 2 <= len(found) <= 7
    assert low - 1e-9 <= found[0] <= found[-1] <= high + 1e-9


@pytest.mark.parametrize(("low", "high"), [(0.06, 1.2), (0.01, 130_000.0), (3.0, 11.0)])
def test_log_ticks_lie_inside_and_are_few(low: float, high: float) -> None:
    found = plots.log_ticks(low, high)
    assert 2 <= len(found) <= 7
    assert low <= found[0] < found[-1] <= high


def test_constant_and_outlying_values_are_drawn_within_the_plot() -> None:
    x = np.arange(2000.0)
    spike = np.ones(2000)
    spike[7] = 1e9
    for values in (np.ones(2000), spike, np.zeros(2000)):
        curve = plots.curve(x, values)
        assert curve is not None
        html = plots.lines("t", [curve], unit="")
        points = [tuple(map(float, p.split())) for d in re.findall(r'd="M(.*?)"', html) for p in d.split("L")]
        assert all(plots.LEFT <= px <= plots.NARROW and 0 <= py <= plots.TALL for px, py in points)
    assert plots.curve(x, np.full(2000, np.nan)) is None
