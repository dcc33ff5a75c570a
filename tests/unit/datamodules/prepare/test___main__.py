from __future__ import annotations

import sys
from pathlib import Path

import pytest

from datamodules.prepare import __main__ as command

WRONG = {
    "no step is chosen": [],
    "did you mean curate": ["step=curat"],
    "source is not set; add source=VALUE (step=curate needs it)": ["step=curate", "dataset=x"],
    "did you mean max_seconds": ["step=curate", "source=x", "dataset=y", "max_secnds=1"],
    "max_seconds must be float": ["step=curate", "source=x", "dataset=y", "max_seconds=two"],
    "is not a folder": ["step=curate", "source=absent folder, with: signs", "dataset=y"],
    "step=curate source=DIR": ["step=encode", "dataset=absent", "vae=x"],
}


@pytest.fixture(autouse=True)
def _argv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare"])


@pytest.mark.parametrize("expected", WRONG)
def test_mistakes_are_one_line(expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(WRONG[expected])
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_a_step_runs_and_lists_its_keys(dataset: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["step=captions", f"dataset={dataset}", f"captions_csv={raw / 'captions.csv'}", "name=full"])
    assert "30 of 30 samples captioned" in capsys.readouterr().out
    command.main(["step=curate", "--help"])
    assert "max_seconds=2.0" in capsys.readouterr().out
