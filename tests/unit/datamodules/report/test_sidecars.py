from __future__ import annotations

import json
from pathlib import Path

from datamodules.report import tables
from datamodules.report.sidecars import find, listed, told
from tests.unit.datamodules.report.conftest import Reader


def test_whole_lacking_and_foreign_sidecars_are_told_apart(dataset: Path) -> None:
    found = tables.load(str(dataset))
    (whole,) = find(found)
    assert (whole.name, whole.shards, whole.stale) == ("latents/vae", found.shards, False)
    (dataset / "latents" / "vae" / "000001.parquet").unlink()
    path = dataset / "latents" / "vae" / "recipe.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset_fingerprint": "other"}))
    (lacking,) = find(found)
    assert (lacking.shards, lacking.stale) == (found.shards - 1, True)
    text = Reader(listed(found, [lacking])).text
    assert "lacks 1" in text
    assert "of another dataset" in text
    assert "step=encode" in listed(found, [])


def test_a_recipe_is_shown_flat_and_short() -> None:
    assert told({"a": {"b": 1, "c": None}, "d": "x"}) == ["a.b=1", "d=x"]
    assert told({str(n): n for n in range(20)})[-1] == "and 12 more"
    assert len(told({"long": "x" * 500})[0]) <= 90
