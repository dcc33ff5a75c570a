from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from dit_video.runs import __main__ as command

Make = Callable[..., Path]


def test_runs_are_listed_for_a_person_and_for_a_machine(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("b", how="done", saved=20), make("a", how="stopped")
    command.main([f"dir={tmp_path}"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:3]] == ["RUN", "a", "b"]
    command.main([f"dir={tmp_path}", "json=true", "sort=checkpoint"])
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["b", "a"]


def test_one_run_is_shown_by_its_path_or_its_name(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make("b", how="done")
    for words in ([str(folder)], ["b", f"dir={tmp_path}"]):
        command.main(["status", *words])
        assert "state       done" in capsys.readouterr().out
    command.main(["status", str(folder), "json=true"])
    assert json.loads(capsys.readouterr().out)["state"] == "done"


def test_a_sweep_is_one_table_wherever_it_is_asked_for(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("s/optim.lr=0.1"), make("s/optim.lr=0.2")
    for words in ([f"dir={tmp_path / 's'}"], ["status", str(tmp_path / "s")]):
        command.main(words)
        assert capsys.readouterr().out.splitlines()[0].split()[0] == "optim.lr"
    command.main(["status", str(tmp_path / "s"), "json=true", "sort=optim.lr"])
    assert [row["settings"] for row in json.loads(capsys.readouterr().out)] == [
        {"optim.lr": "0.1"},
        {"optim.lr": "0.2"},
    ]
    command.main(["status", str(tmp_path / "s/optim.lr=0.1")])
    assert "state " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dri=x"], "there is no dri in dit_video.runs; did you mean dir"),
        (["dir=none"], "dir=none is no folder"),
        (["status"], "status needs a run"),
        (["status", "json=true"], "status needs a run"),
        (["status", "c", "dir={}"], "there is no run c; there is b"),
        (["status", "{}"], "is not the folder of a run"),
        (["what"], "'what' is not key=value"),
        (["dir={}", "sort=los"], "cannot be sorted by los; did you mean loss"),
        (["dir={}", "json=yes"], "json must be true or false"),
        (["status", "{}/b", "sort=loss"], "sort=loss says nothing of one run"),
    ],
)
def test_a_mistake_is_one_line(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    make("b")
    with pytest.raises(SystemExit) as stop:
        command.main([word.replace("{}", str(tmp_path)) for word in words])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert said in error
    assert error.count("\n") == 1


def test_damage_costs_a_few_lines_and_not_the_list(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dit_video"), "handlers", [])
    for number in range(20):
        folder = make(f"r{number:02d}")
        (folder / "state.json").write_text("{")
    command.main([f"dir={tmp_path}"])
    shown = capsys.readouterr()
    said = shown.err.splitlines()
    assert len(said) == command.WARNINGS + 1
    assert said[-1].startswith("and 15 more")
    assert "20 run(s): 20 stopped" in shown.out


def test_no_runs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main([f"dir={tmp_path}"])
    assert "no runs in" in capsys.readouterr().out
    command.main(["--help"])
    assert "status RUN" in capsys.readouterr().out


def test_where_runs_lie_elsewhere_that_is_said(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("outputs/quickstart/runs/dit")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main([])
    assert "set dir=outputs\n" in capsys.readouterr().err
