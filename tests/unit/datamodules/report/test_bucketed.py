"""The report places samples as training does: row by row the bucket that `Buckets.choose` gives."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.dataset import buckets
from datamodules.loading.pixels import available
from datamodules.report.bucketed import bucketed, explain, place
from datamodules.report.thumbs import Thumbs
from tests.unit.datamodules.report.conftest import Reader, dataset_of

TABLES = {
    "generated": buckets.generated(pixels=96 * 96, frames=17, time=4, multiple=16),
    "by hand": buckets.listed(["5x32x48", "9x32x48", "9x48x32", "17x64x64"], time=4, multiple=16),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_the_bucket_that_training_chooses(name: str) -> None:
    table, rng = TABLES[name], np.random.default_rng(0)
    n = 300
    numbers = {
        "frames": rng.integers(1, 60, n),
        "height": rng.integers(16, 200, n),
        "width": rng.integers(16, 200, n),
        "fps": rng.choice([0.0, 10.0, 24.0, 30.0], n),
    }
    placed = place(dataset_of(**numbers), table, fps=12.0)
    for row in range(n):
        frames = available(int(numbers["frames"][row]), float(numbers["fps"][row]), 12.0)
        found = table.choose(frames=frames, height=int(numbers["height"][row]), width=int(numbers["width"][row]))
        expected = (found.frames, found.height, found.width) if found else (0, 0, 0)
        assert (placed.frames[row], placed.height[row], placed.width[row]) == expected


def test_what_is_cropped_and_enlarged() -> None:
    found = dataset_of(frames=[9, 9, 1], height=[64, 16, 64], width=[96, 24, 96], fps=[12.0, 12.0, 12.0])
    placed = place(found, buckets.listed(["9x32x32"], time=4, multiple=16), fps=12.0)
    np.testing.assert_allclose(placed.cropped[:2], 1 / 3)
    np.testing.assert_allclose(placed.scale[:2], [0.5, 2.0])
    assert placed.fits.tolist() == [True, True, False]
    text = Reader(bucketed(found, placed, Thumbs(dataset=found, there=False), told="told")).text
    assert "67 % of the samples have a bucket; 1 are too short" in text
    assert "9: 2" in text


def test_what_the_table_was_made_with_is_said() -> None:
    common = {"pixels": 99, "frames": 17, "time": 4, "multiple": 16, "fps": 12.0}
    assert "pixels=99" in explain(sizes=None, **common)  # type: ignore[arg-type]
    assert "by hand: 1x16x16" in explain(sizes=["1x16x16"], **common)  # type: ignore[arg-type]
