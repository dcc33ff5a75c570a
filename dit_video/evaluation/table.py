"""The figures as text: a row a VAE, the mean over clips and its confidence interval below."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dit_video.evaluation.figures import FIGURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def said(value: float | None, digits: int) -> str:
    """A figure as people read it; – where there is none."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if math.isfinite(value) else "∞"


def columns(results: Mapping[str, Any]) -> list[str]:
    """The figures that any VAE has."""
    return [name for name in FIGURES if any(item["figures"][name] for item in results["vaes"])]


def best(results: Mapping[str, Any], name: str) -> int | None:
    """Which of several VAEs is ahead in a figure; None where that is not said, or they are equal."""
    more = FIGURES[name].more
    means = [item["figures"][name] and item["figures"][name]["mean"] for item in results["vaes"]]
    known = [mean for mean in means if mean is not None]
    if more is None or len(known) < 2 or len(set(known)) < 2:
        return None
    return means.index(max(known) if more else min(known))


def table(results: Mapping[str, Any]) -> list[str]:
    """Lines of text, columns one below the other."""
    names = columns(results)
    head = ["", *(" ".join(filter(None, (FIGURES[name].name, FIGURES[name].unit))) for name in names)]
    distances = any(item["fvd"] for item in results["vaes"])
    rows = [[*head, *(["rFVD"] if distances else [])]]
    for item in results["vaes"]:
        means, ends = [item["name"]], ["  95 %"]
        for name in names:
            figure, digits = item["figures"][name], FIGURES[name].digits
            means.append(said(figure["mean"], digits) if figure else "–")
            known = figure and figure["low"] is not None
            ends.append(f"{said(figure['low'], digits)}–{said(figure['high'], digits)}" if known else "")
        if distances:
            means.append(said(item["fvd"]["value"], 1) if item["fvd"] else "–")
            ends.append("")
        rows += [means, ends] if any(ends[1:]) else [means]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines: the first column from the left, the others from the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
