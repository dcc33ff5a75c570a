"""The mean over clips, and an interval that holds it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dit_video.evaluation.overall import overall


def test_the_mean_is_that_of_the_clips_that_have_the_figure() -> None:
    found = overall([1.0, None, 2.0, 6.0])
    assert found is not None
    assert (found.mean, found.count) == (pytest.approx(3.0), 3)
    assert overall([None]) is None


def test_the_interval_holds_the_mean_and_narrows_with_clips() -> None:
    draws = np.random.default_rng(0).normal(30, 3, 400)
    few, many = overall(draws[:25].tolist()), overall(draws.tolist())
    for found in (few, many):
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.mean < found.high
    assert few is not None
    assert many is not None
    wide, narrow = (x.high - x.low for x in (few, many) if x.high is not None and x.low is not None)
    assert narrow == pytest.approx(2 * 1.96 * draws.std() / 20, rel=0.15)
    assert wide > 2 * narrow
    assert overall(draws.tolist()) == many


def test_one_clip_and_infinite_ones_have_no_interval() -> None:
    for values, mean in (([4.0], 4.0), ([4.0, math.inf], math.inf)):
        found = overall(values)
        assert found is not None
        assert (found.mean, found.low, found.high) == (mean, None, None)


def test_equal_clips_have_an_interval_of_no_width() -> None:
    found = overall([2.5] * 8)
    assert found is not None
    assert (found.low, found.high) == (2.5, 2.5)
