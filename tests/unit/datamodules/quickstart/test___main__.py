"""The quickstart's own command line: a mistake is one line before anything is run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from datamodules.quickstart.__main__ import main, read, table
from dit_video.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=abc"], "seed=abc must be a whole number"),
        (["seed=-1"], "seed=-1 must be a whole number"),
        (["sauce=x"], "there is no sauce.*source"),
        (["source"], "'source' is not key=value"),
        (["captions=x.csv"], "goes with source="),
        (["source=absent"], "source=absent is not a folder"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.count("\n") == 1
    assert re.search(said, told)


def test_values_are_taken_letter_by_letter() -> None:
    given = {"source": "my [videos], 2=3", "out": "null", "seed": "07"}
    assert read([f"{key}={value}" for key, value in given.items()]) == given
    with pytest.raises(ConfigError):
        read(["seed="])


def test_captions_are_those_of_the_folder_or_those_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "captions.csv").write_text("file,caption\n", encoding="utf-8")
    assert table(tmp_path / "videos", None) is None
    assert table(tmp_path / "videos", str(tmp_path / "captions.csv")) == tmp_path / "captions.csv"
    assert table(tmp_path, None) == tmp_path / "captions.csv"
    with pytest.raises(DataError, match=r"captions=absent\.csv is no file"):
        table(tmp_path, "absent.csv")


def test_make_hands_its_knobs_on(tmp_path: Path) -> None:
    def said(*knobs: str) -> str:
        asked = ["make", "-n", "-C", str(ROOT), "-o", ".venv/.stamp", "quickstart", *knobs]
        lines = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()
        return (
            next(line for line in lines if "datamodules.quickstart" in line).split("datamodules.quickstart")[1].strip()
        )

    assert said() == ""
    assert said("SOURCE=a b", "CAPTIONS=c.csv", "OUT=d") == 'source="a b" captions="c.csv" out="d"'
