from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.report.__main__ import main


def test_the_command_writes_the_page_and_says_where(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([f"dataset={finished}", f"out={tmp_path / 'a page.html'}", "sizes=[9x32x32]"])
    assert f"-> {tmp_path / 'a page.html'}" in capsys.readouterr().out
    assert (tmp_path / "a page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "dataset is not set; add dataset=VALUE"),
        (["dataset=absent"], "no dataset.json"),
        (["dataset=x", "pixel=3"], "did you mean pixels?"),
        (["dataset=x", "fps=many"], "fps must be float"),
        (["dataset=x", "sizes=[3x3]"], "must be written FRAMESxHEIGHTxWIDTH"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
