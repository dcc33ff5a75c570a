from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from datamodules.dataset import index
from datamodules.dataset.columns import Texts
from dit_video.errors import DataError


def test_held_out_grows_with_the_fraction_and_takes_last_clips(finished: Path) -> None:
    found = index.load(finished)
    small, large = index.held_out(found, 0.1), index.held_out(found, 0.5)
    assert not index.held_out(found, 0.0).any()
    assert (small <= large).all()
    assert 0 < large.sum() < len(found)
    several = replace(found, source=Texts(["a", "a", "a", "b", "b"] + [f"c{i}" for i in range(25)]))
    held = index.held_out(several, 1e-9)
    assert np.flatnonzero(held).tolist() == [2, 4]


def test_few_sources_lose_their_last_clip(finished: Path) -> None:
    found = index.load(finished)
    large = {name: Texts([*getattr(found, name)] * 2) for name in ("key", "source")}
    held = index.held_out(replace(found, **large), 1e-9)
    assert held.sum() == index.SOURCES < len(found)
    assert not held[: len(found)].any()


def test_an_index_without_a_column_is_one_line(dataset: Path) -> None:
    path = dataset / "index/000001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["fps"]), path)
    with pytest.raises(DataError, match=r"000001\.parquet has no column fps; curate again"):
        index.load(dataset)
