"""What the report reads is what stands on the disk: rows, scores of the index and of sidecars, what was refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.dataset import index
from datamodules.report import tables
from dit_video.errors import DataError


def test_rows_are_those_of_the_index(finished: Path) -> None:
    found, expected = tables.load(str(finished)), index.load(str(finished))
    assert found.texts["key"] == expected.key
    np.testing.assert_array_equal(found.numbers["height"], expected.height)
    np.testing.assert_array_equal(found.image, expected.image)
    assert [found.sha256(row) for row in range(0, len(found), 5)] == expected.sha256.to_list()[::5]
    assert not set(found.scores) & set(tables.NUMBERS)


def test_scores_are_further_columns_and_sidecars_in_the_rows_of_the_index(dataset: Path) -> None:
    for path in sorted((dataset / "index").glob("*.parquet"), reverse=True):
        table = pq.read_table(path)
        n, first = table.num_rows, path.stem == "000000"
        odd = pa.array(np.arange(n) if first else [None] * n, pa.int64())
        pq.write_table(table.append_column("odd", odd).append_column("ok", pa.array([True] * n)), path)
    keys = table["key"].to_pylist()
    (dataset / "scores" / "near").mkdir(parents=True)
    side = pa.table({"key": keys[::-1], "place": np.arange(n)[::-1], "name": ["x"] * n})
    pq.write_table(side, dataset / "scores" / "near" / "000000.parquet")
    found = tables.load(str(dataset))
    for name in ("odd", "near.place"):
        np.testing.assert_array_equal(found.scores[name][:n], np.arange(n))
        assert np.isnan(found.scores[name][n:]).all()
    assert found.scores["ok"][0] == 1
    assert "near.name" not in found.scores


def test_what_was_refused_has_its_picture(dataset: Path) -> None:
    shutil.rmtree(dataset / "quarantine")
    (dataset / "quarantine").mkdir()
    rows = {"source": ["a", "b"], "reason": ["x", "y"], "thumbnail": [None, b"jpeg"]}
    pq.write_table(pa.table(rows), dataset / "quarantine" / "000001.parquet")
    pq.write_table(pa.table({"source": ["c"], "reason": ["z"]}), dataset / "quarantine" / "ignored.parquet")
    found = tables.load(str(dataset)).refused
    assert list(found.source) == ["a", "b", "c"]
    assert found.pictures([0, 1, 2]) == {1: b"jpeg"}
    assert np.isnan(found.start).all()


def test_sidecars_are_the_folders_there_are(dataset: Path) -> None:
    assert tables.sidecar_names(str(dataset), "latents") == ["vae"]
    assert tables.sidecar_names(str(dataset), "absent") == []


def test_sidecars_of_a_url_are_listed(dataset: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(dataset), "/made", recursive=True)
    try:
        assert tables.sidecar_names("memory://made", "latents") == ["vae"]
        assert tables.sidecar_names("memory://made", "absent") == []
        sizes = {name: size for name, _, size in tables.entries("memory://made/index")}
        assert sizes == {name: size for name, _, size in tables.entries(str(dataset / "index"))}
    finally:
        memory.rm("/made", recursive=True)


def test_damage_is_an_error_of_the_index_and_a_note_of_a_sidecar(dataset: Path) -> None:
    (dataset / "scores" / "bad").mkdir(parents=True)
    (dataset / "scores" / "bad" / "000000.parquet").write_bytes(b"no table")
    assert "damaged" in tables.load(str(dataset)).damaged["scores/bad"]
    (dataset / "index" / "000003.parquet").unlink()
    with pytest.raises(DataError, match="curate again"):
        tables.load(str(dataset))
    with pytest.raises(DataError, match=r"no dataset\.json"):
        tables.load(str(dataset / "absent"))
