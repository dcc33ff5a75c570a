"""The page: whole, nothing in it asks for anything outside, and names from outside stay text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dit_video.evaluation.page import KEY, ending, write_page
from tests.unit.datamodules.report.conftest import Reader

Measured = Callable[..., tuple[dict[str, Any], Path]]


def page(folder: Path, results: dict[str, Any], *, shown: int = 2) -> str:
    text = write_page(folder, results, shown=shown).read_text(encoding="utf-8")
    reader = Reader(text)
    assert all(place.startswith(("data:", "#")) for place in reader.loads)
    return text


@pytest.mark.parametrize("levels", [(10,), (0, 10), (10, 20, 30)])
def test_it_has_all_sections_and_loads_nothing(measured: Measured, levels: tuple[int, ...]) -> None:
    results, out = measured(*levels)
    text = page(out, results)
    for anchor in ("figures", "shown", "clips", "latents"):
        assert f'<section id="{anchor}">' in text
    assert text.count("<video ") + text.count("<img ") == 3
    assert "http:" not in text
    assert "https:" not in text
    assert text.count("data:video/mp4;base64,") == text.count("<video ")
    assert text.count('class="bars"') == len(levels)


def test_worst_clips_come_first_and_each_once(measured: Measured) -> None:
    results, out = measured(10)
    for clip, decibel in zip(results["clips"], (30.0, 20.0, 25.0), strict=True):
        clip["vaes"][0]["psnr_db"] = decibel
    text = page(out, results, shown=1)
    shown = text[text.index('id="shown"') : text.index('id="clips"')]
    assert shown.index("b.mp4") < shown.index("a.mp4")
    assert "c.png" not in shown
    text = page(out, results, shown=9)
    assert "All, the worst first" in text
    assert "No clip is shown" in page(out, results, shown=0)


def test_names_from_outside_are_text_and_missing_videos_are_told(measured: Measured) -> None:
    results, out = measured(0, 10)
    evil = '<script>alert("x")</script>'
    results["source"] = results["clips"][0]["name"] = results["vaes"][0]["name"] = evil
    results["damaged"] = [{"name": evil, "reason": evil}]
    (out / results["clips"][0]["shown"]).unlink()
    text = page(out, results, shown=3)
    assert evil not in text
    assert "is not there any more" in text


def test_the_best_of_several_stand_out(measured: Measured) -> None:
    results, out = measured(20, 10)
    assert page(out, results).count("class=best") >= 1
    assert "class=best" not in page(out, measured(10)[0])


def test_long_names_keep_their_ends() -> None:
    assert ending("short") == "short"
    assert ending("runs/a-very-long-name") == "…" + "runs/a-very-long-name"[1 - KEY :]
    assert len(ending("x" * 40)) == KEY
