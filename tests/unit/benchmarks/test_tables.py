"""The document on scaling says what the figures say."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.tables import DOC, MARKED, RESULTS, filled, tables

ROOT = Path(__file__).resolve().parents[3]


def test_the_tables_are_those_of_the_figures() -> None:
    text = (ROOT / DOC).read_text(encoding="utf-8")
    figures = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))["figures"]
    assert {name for _, name, _ in MARKED.findall(text)} == set(tables(figures))
    assert filled(text, figures) == text, "run: PYTHONPATH=. python benchmarks/tables.py"


def test_what_was_counted_is_what_the_formulas_say() -> None:
    figures = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))["figures"]
    assert figures["measured"]
    for one in figures["measured"]:
        norm = 8  # bytes: one number, by all-reduce
        told, counted = one["told"], one["counted"]
        assert told["gathers"] == counted.get("allgather_base", 0)
        assert told["scatters"] == counted.get("reduce_scatter_base", 0)
        assert told["copies"] <= counted.get("allreduce", 0) <= told["copies"] + norm
        assert told["trades"] + told["matrices"] == counted.get("alltoall_base", 0)
