"""Stages: commands as they would be typed, run again when what decides them has changed, failures named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from datamodules.quickstart.stages import Stages, settings, shown, threads
from dit_video.errors import DataError


class House:
    """A folder with three stages: `two` reads a file and follows `one`, `three` follows `one`; a log says what ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read = folder / "read.txt"
        self.read.write_text("as it was", encoding="utf-8")

    def append(self, letter: str) -> tuple[str, ...]:
        """A command that adds a letter to the log, and to a file of its own."""
        place = str(self.folder)
        return ("-c", f"for n in ('log', {letter!r}): open({place!r} + '/' + n, 'a').write({letter!r})")

    def run(self, *, first: str = "a") -> str:
        """Run all; the letters that were written."""
        (self.folder / "log").write_text("", encoding="utf-8")
        stages = Stages(self.folder)
        stages.run("one", self.append(first), makes=[self.folder / first])
        made = [self.folder / "b"]
        stages.run("two", self.append("b"), after=["one"], reads=[self.read], makes=made)
        stages.run("three", self.append("c"), after=["one"], makes=[self.folder / "c"])
        stages.finish()
        return (self.folder / "log").read_text(encoding="utf-8")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_commands_are_shown_as_they_would_be_typed() -> None:
    assert shown(["-m", "datamodules.shapes", "out=a b"]) == "python -m datamodules.shapes 'out=a b'"
    assert threads() >= 1


def test_what_is_done_is_not_run_again(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert house.run() == "abc"
    assert house.run() == ""
    assert "[two] done before" in capsys.readouterr().out
    rows = json.loads((house.folder / "stages.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["done"]) for row in rows] == [("one", True), ("two", True), ("three", True)]
    assert all(row["seconds"] > 0 for row in rows)
    assert rows[1]["command"] == shown(house.append("b"))


def test_a_changed_input_begins_its_stage_anew_and_none_before_or_beside(house: House) -> None:
    house.run()
    house.read.write_text("otherwise", encoding="utf-8")
    assert house.run() == "b"
    assert (house.folder / "b").read_text(encoding="utf-8") == "b"  # deleted first, else bb


def test_a_changed_stage_takes_all_that_follow_with_it(house: House) -> None:
    house.run()
    assert house.run(first="d") == "dbc"
    assert house.run(first="d") == ""


def test_what_was_lost_is_made_again(house: House) -> None:
    house.run()
    (house.folder / "c").unlink()
    assert house.run() == "c"


def test_a_stage_that_was_stopped_goes_on_with_what_it_has(house: House) -> None:
    fails = ("-c", f"open({str(house.folder / 'part')!r}, 'a').write('x'); raise SystemExit(3)")
    for times in (1, 2):
        with pytest.raises(DataError, match="stage one failed with exit code 3"):
            Stages(house.folder).run("one", fails, ["-c", "never"], makes=[house.folder / "part"])
        assert (house.folder / "part").read_text(encoding="utf-8") == "x" * times
    with pytest.raises(DataError):
        Stages(house.folder).run("one", fails, ["-c", "another"], makes=[house.folder / "part"])
    assert (house.folder / "part").read_text(encoding="utf-8") == "x"


def test_nothing_is_deleted_that_no_stage_is_known_to_have_made(house: House) -> None:
    (house.folder / "a").write_text("mine", encoding="utf-8")
    house.run()
    assert (house.folder / "a").read_text(encoding="utf-8") == "minea"


def test_stages_of_another_run_are_forgotten_at_its_end(house: House) -> None:
    house.run()
    stages = Stages(house.folder)
    stages.run("one", house.append("a"), makes=[house.folder / "a"])
    assert [row["name"] for row in json.loads(stages.file.read_text(encoding="utf-8"))] == ["one", "two", "three"]
    stages.finish()
    assert [row["name"] for row in json.loads(stages.file.read_text(encoding="utf-8"))] == ["one"]


def test_settings_are_what_the_command_says_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "train.py"
    script.write_text("import sys; print(open('conf').read(), *sys.argv[1:])", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found: list[Any] = []
    for text in ("a", "b"):
        (tmp_path / "conf").write_text(text, encoding="utf-8")
        found.append(settings(["train.py", "experiment=x"]).decode().split())
    assert found == [[text, "experiment=x", "--cfg", "job", "--resolve"] for text in ("a", "b")]
    assert settings(["-m", "datamodules.shapes"]) == b""
    assert sys.executable
