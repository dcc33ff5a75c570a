from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.dataset import filter as by_score
from datamodules.dataset import index
from dit_video.errors import ConfigError, DataError


@pytest.fixture
def scored(dataset: Path) -> index.Index:
    """The dataset with scores/look: `copy` alternates, `sum` counts rows and is unknown for the last shard."""
    found = index.load(dataset)
    folder = dataset / "scores" / "look"
    folder.mkdir(parents=True)
    for shard in range(8):
        rows = np.flatnonzero(found.shard == shard)
        sums = [None if shard == 7 else float(row) for row in rows]
        columns = {"key": found.key.take(rows).to_list(), "copy": rows % 2, "sum": pa.array(sums, pa.float64())}
        pq.write_table(pa.table(columns), folder / f"{shard:06d}.parquet")
    return found


def test_both_ends_are_kept_and_an_open_end_keeps_all(scored: index.Index) -> None:
    rows = np.arange(len(scored))
    assert by_score.keep(scored, {"look": {"copy": [None, 0]}}).rows.tolist() == (rows % 2 == 0).tolist()
    assert by_score.keep(scored, {"look": {"copy": [None, None]}}).rows.all()
    kept = by_score.keep(scored, {"height": [48, None]}).rows
    assert kept.tolist() == (scored.height >= 48).tolist()
    assert 0 < kept.sum() < len(kept)


def test_a_row_counts_once_by_its_first_reason(scored: index.Index, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("dit_video").propagate = True
    caplog.set_level(logging.INFO, logger="dit_video")
    kept = by_score.keep(scored, {"look": {"sum": [4, 11], "copy": [0, 0]}})
    known = scored.shard < 7
    rows = np.arange(len(scored))
    assert kept.rows.tolist() == ((~known | ((rows >= 4) & (rows <= 11))) & (rows % 2 == 0)).tolist()
    assert list(kept.dropped) == ["look.sum < 4", "look.sum > 11", "look.copy < 0", "look.copy > 0"]
    assert sum(kept.dropped.values()) == (~kept.rows).sum()
    assert kept.unknown["look.sum"] == (~known & kept.rows).sum() > 0
    assert f"datamodules.filter.look.sum: {kept.unknown['look.sum']} samples pass whose score is unknown" in caplog.text


def test_no_bound_drops_nothing(scored: index.Index) -> None:
    kept = by_score.keep(scored, {})
    assert kept.rows.all()
    assert kept.dropped == {}


@pytest.mark.parametrize("wrong", [0.02, "a", [1], [1, 2, 3], [None, "x"], [True, None], [float("nan"), None], None])
def test_what_is_no_interval_is_one_line(scored: index.Index, wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.filter\.height must be \[low,high\]"):
        by_score.keep(scored, {"height": wrong})


def test_mistakes_name_the_key(scored: index.Index) -> None:
    with pytest.raises(ConfigError, match=r"datamodules\.filter\.look\.copy=\[1,0\] keeps nothing"):
        by_score.keep(scored, {"look": {"copy": [1, 0]}})
    with pytest.raises(ConfigError, match=r"look\.copi is not a score; did you mean look\.copy\? There are frames, "):
        by_score.keep(scored, {"look": {"copi": [0, 1]}})
    with pytest.raises(ConfigError, match=r"qqq is not a score; there is frames, height"):
        by_score.keep(scored, {"qqq": [0, 1]})
    with pytest.raises(ConfigError, match=r"there is no scores/duplicates; make it with: .* step=duplicates dataset="):
        by_score.keep(scored, {"duplicates": {"copy": [None, 0]}})
    with pytest.raises(DataError, match=r"leaves none of 30 samples: 30 with frames < 1000; widen it"):
        by_score.keep(scored, {"frames": [1000, None]})


def test_a_score_of_one_dataset_is_unknown_in_another(scored: index.Index, finished: Path) -> None:
    both = index.load([scored.folders[0], str(finished)])
    kept = by_score.keep(both, {"look": {"copy": [None, 0]}})
    assert kept.rows[len(scored) :].all()
    assert kept.unknown["look.copy"] == len(scored)


def test_a_score_that_is_unknown_everywhere_is_refused(scored: index.Index) -> None:
    nothing = dataclasses.replace(scored, seconds=np.full(len(scored), np.nan))
    with pytest.raises(DataError, match=r"filter\.seconds is unknown for every sample"):
        by_score.keep(nothing, {"seconds": [1, None]})


def test_a_score_made_anew_changes_the_fingerprint(scored: index.Index) -> None:
    def mark(bounds: dict) -> str:
        return index.marked("print", scored.folders, by_score.score_tables(bounds))

    looks = {"look": {"copy": [None, 0]}}
    before = mark(looks)
    assert mark({}) == mark({"frames": [2, None]}) == "print"
    assert len({"print", before, mark({"motion": [0, None]})}) == 3
    assert mark(looks) == before
    path = Path(scored.folders[0]) / "scores" / "look" / "000002.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "copy", pa.array(np.ones(table.num_rows, int))), path)
    assert mark(looks) != before
