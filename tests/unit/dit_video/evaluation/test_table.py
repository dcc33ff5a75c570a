"""Figures as text: aligned, with a dash for none and the sign for infinity."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dit_video.evaluation.table import aligned, best, columns, said, table


def test_what_is_said_of_a_figure() -> None:
    assert (said(None, 2), said(math.inf, 2), said(31.256, 2)) == ("–", "∞", "31.26")


def test_a_row_a_vae_with_intervals_below(measured: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    results, _ = measured(0, 10)
    assert columns(results) == ["psnr_db", "ssim", "motion", "flicker", "detail"]
    lines = table(results)
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split()[:3] == ["PSNR", "dB", "SSIM"]
    assert lines[1].split()[:2] == ["darker-0", "∞"]
    assert any(line.startswith("darker-10") and "28.13" in line for line in lines)
    assert (best(results, "psnr_db"), best(results, "motion"), best(results, "detail")) == (0, None, None)


def test_columns_are_as_wide_as_their_widest() -> None:
    assert aligned([["a", "1"], ["bbb", "22"]]) == ["a     1", "bbb  22"]
