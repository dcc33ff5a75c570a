"""key=value of a command line: text letter by letter, the rest as YAML, mistakes one line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from datamodules import commands
from dit_video import signature

TARGET = "datamodules.prepare.recaption.recaption"


def test_text_stays_as_it_was_typed_and_the_rest_is_yaml() -> None:
    found = commands.parse(
        ["steps=3:5", "dir=a b: [c", "none=null", "n=3", "sizes=[1x2x3,4]", "filter.motion=[0.1,null]"],
        texts={"steps", "dir", "none"},
    )
    assert found == {
        "steps": "3:5",
        "dir": "a b: [c",
        "none": None,
        "n": 3,
        "sizes": ["1x2x3", 4],
        "filter": {"motion": [0.1, None]},
    }


def test_defaults_are_those_of_the_function_without_importing_it() -> None:
    for name in ("curate.curate", "encode.encode", "recaption.recaption", "score.score", "verify.verify"):
        target = f"datamodules.prepare.{name}"
        takes = signature.read(target)
        assert takes is not None
        known = inspect.signature(commands.function(target)).parameters.items()
        wanted = {key: item.default for key, item in known if item.default is not inspect.Parameter.empty}
        assert commands.defaults(takes) == wanted


def test_the_function_is_called_with_what_was_given(tmp_path: Path) -> None:
    commands.run(
        "datamodules.shapes.corpus.write_corpus",
        [f"out={tmp_path / 'raw'}", "videos=1", "images=1", "described=1.0"],
        name="datamodules.shapes",
    )
    assert (tmp_path / "raw/described.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dataset=x", "recaptioner=y", "bach=3"], "there is no bach in prepare; did you mean batch?"),
        (["dataset=x"], "recaptioner is not set; add recaptioner=VALUE"),
        (["dataset=x", "recaptioner=y", "batch=many"], "batch must be int, got 'many'"),
        (["dataset"], "'dataset' is not key=value"),
        (["dataset=", "recaptioner=y"], "dataset is empty; add dataset=VALUE (prepare needs it)"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        commands.run(TARGET, arguments, name="prepare")
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_help_lists_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    commands.run(TARGET, ["--help"], name="prepare")
    text = capsys.readouterr().out
    assert "  dataset=REQUIRED" in text
    assert "  max_tokens=64" in text
