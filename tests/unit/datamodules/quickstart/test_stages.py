"""Stages: commands as they would be typed, run once, failures named."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.quickstart.stages import Stages, shown, threads
from dit_video.errors import DataError


def test_commands_are_shown_as_they_would_be_typed() -> None:
    assert shown(["-m", "datamodules.shapes", "out=a b"]) == "python -m datamodules.shapes 'out=a b'"
    assert threads() >= 1


def test_a_stage_that_is_done_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def append(letter: str) -> tuple[str, ...]:
        return ("-c", f"open({str(tmp_path / 'log')!r}, 'a').write({letter!r})")

    Stages(tmp_path).run("one", append("a"), append("b"))
    assert (tmp_path / "log").read_text(encoding="utf-8") == "ab"
    again = Stages(tmp_path)
    again.run("one", append("a"), append("b"))
    assert (tmp_path / "log").read_text(encoding="utf-8") == "ab"
    again.run("one", append("c"))
    assert (tmp_path / "log").read_text(encoding="utf-8") == "abc"
    done = Stages(tmp_path).done["one"]
    assert done.seconds > 0
    assert done.peak_gb > 0
    assert done.command == shown(append("c"))
    assert "[one] done before" in capsys.readouterr().out


def test_a_failure_names_its_stage_and_is_not_done(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stage two failed with exit code 3"):
        Stages(tmp_path).run("two", ["-c", "raise SystemExit(3)"], ["-c", "never"])
    assert Stages(tmp_path).done == {}
