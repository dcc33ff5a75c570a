"""The command: its keys are the arguments of `write_corpus`, and a wrong one is a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.shapes.__main__ import main


def test_arguments_reach_the_writer(tmp_path: Path) -> None:
    main([f"out={tmp_path / 'raw'}", "videos=1", "images=1", "described=1.0", "seed=3"])
    assert len((tmp_path / "raw/described.csv").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["out=x", "video=3"], "there is no video in datamodules.shapes; did you mean videos?"),
        (["videos=3"], "out is not set; add out=VALUE"),
        (["out=x", "videos=0"], "expected videos >= 1"),
    ],
)
def test_mistakes_are_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
