"""Figures of captions are of the captions that are there, in the rows of the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.prepare.captions import write_sidecar
from datamodules.report import tables
from datamodules.report.captions import Kind, captions, kinds
from datamodules.report.thumbs import Thumbs
from tests.unit.datamodules.report.conftest import Reader


def test_kinds_are_measured_by_row(dataset: Path) -> None:
    found = tables.load(str(dataset))
    keys = [key for key in found.texts["key"] if key.startswith("000001_")]
    write_sidecar(dataset, "dense", shard=1, keys=keys[::-1], texts=["one two three"] * len(keys), model="run@1")
    listed, damaged = kinds(tables.load(str(dataset)))
    assert not damaged
    source, dense = listed
    assert (source.name, dense.name) == ("source", "dense")
    assert dense.have == len(keys)
    assert [key for key, n in zip(found.texts["key"], dense.words, strict=True) if n == 3] == keys
    assert (dense.distinct, dense.vocabulary, dense.models) == (1, 3, ("run@1",))
    assert dense.frequent == {"one two three": len(keys)}
    counts = [len(text.split()) for text in found.texts["caption"] if text]
    np.testing.assert_array_equal(source.words[np.isfinite(source.words)], counts)


def test_samples_stand_with_all_of_their_captions(dataset: Path) -> None:
    found = tables.load(str(dataset))
    keys = found.texts["key"].to_list()
    for shard in range(found.shards):
        mine = [key for key in keys if key.startswith(f"{shard:06d}")]
        write_sidecar(dataset, "dense", shard=shard, keys=mine, texts=[f"<b> {key}" for key in mine], model="m")
    text = Reader(captions(found, kinds(found)[0], Thumbs(dataset=found, there=False))).text
    assert "8 drawn by chance" in text
    assert text.count("<b> 0000") == 8
    assert "× as long" in text


def test_a_damaged_sidecar_is_named_and_the_rest_stands(dataset: Path) -> None:
    (dataset / "captions" / "bad").mkdir(parents=True)
    (dataset / "captions" / "bad" / "000000.parquet").write_bytes(b"no table")
    (dataset / "captions" / "empty").mkdir()
    found = tables.load(str(dataset))
    listed, damaged = kinds(found)
    assert [kind.name for kind in listed] == ["source"]
    assert set(damaged) == {"captions/bad", "captions/empty"}


def test_no_captions_at_all_is_said(dataset: Path) -> None:
    found = tables.load(str(dataset))
    none = Kind(
        name="source", words=np.full(3, np.nan), distinct=0, frequent={}, vocabulary=0, drawn=0, same=0, samples={}
    )
    assert "no captions" in captions(found, [none], Thumbs(dataset=found, there=False))
