"""Captions of a dataset as the report tells them: beside each other, the source's, the dense one, and the truth."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.dataset import index, sidecars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT = 200


def read_csv(path: Path) -> dict[str, str]:
    """Captions by file, of a table with columns file,caption."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["caption"] for row in csv.DictReader(file)}


def read(dataset: Path, truth: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Key, file, source and dense caption of every sample, and the truth of its file where there is one."""
    found = index.load(dataset)
    short = sidecars.load_captions(found, "source")
    dense = sidecars.load_captions(found, "dense") if (dataset / "captions" / "dense").is_dir() else short
    rows = zip(found.key, found.source, short, dense, strict=True)
    return [
        {"key": key, "file": file, "source": source or "", "dense": told or "", "truth": (truth or {}).get(file)}
        for key, file, source, told in rows
    ]


def save(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the first of them as captions.json."""
    (out / "captions.json").write_text(json.dumps(rows[:KEPT]), encoding="utf-8")
