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
    "no option 'slrm'; did you mean slurm?": ["step=curate", "source=x", "dataset=y", "run.submit=slrm"],
    "did you mean partition?": ["step=curate", "source=x", "dataset=y", "run.submit=slurm", "run.submit.partitoin=a"],
    "run.submit.partition is set but no": ["step=curate", "source=x", "dataset=y", "run.submit.partition=a"],
    "run.submit.requeues must be": [
        "step=curate",
        "source=x",
        "dataset=y",
        "run.submit=slurm",
        "run.submit.requeues=-1",
    ],
    "add run.submit=slurm": ["step=curate", "source=x", "dataset=y", "run.dry=true"],
    "part= is what": ["step=curate", "source=x", "dataset=y", "run.submit=slurm", "part=0/2"],
    "source=x is not a folder": ["step=curate", "source=x", "dataset=y", "run.submit=slurm"],
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


def test_a_step_that_is_submitted_is_shown_with_what_is_missing_and_does_nothing(
    dataset: Path, raw: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # nor is SLURM asked
    for number in (1, 2, 6):
        (dataset / f"index/{number:06d}.parquet").unlink()
    given = ["step=curate", f"source={raw}", f"dataset={dataset}", "crf=14"]
    command.main([*given, "run.submit=slurm", "run.dry=true", "run.submit.concurrent=3", "run.submit.time=120"])
    script = capsys.readouterr().out
    assert "#SBATCH --array=1-2,6%3" in script
    assert "#SBATCH --time=120\n" in script
    words = " ".join(script.replace("\\\n", "").split())
    assert f'-m datamodules.prepare {" ".join(given)} part="$SLURM_ARRAY_TASK_ID/8" &' in words
    assert not (dataset / "index/000001.parquet").exists()
    assert not (dataset / "slurm").exists()


def test_a_sites_own_file_is_chosen_by_its_name(
    dataset: Path, raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf/run/submit").mkdir(parents=True)
    (tmp_path / "conf/run/submit/ours.yaml").write_text("defaults: [slurm]\npartition: small\n", encoding="utf-8")
    given = ["step=verify", f"dataset={dataset}", "run.submit=ours", "run.submit.account=me", "run.dry=true"]
    command.main([*given, "--config-dir", str(tmp_path / "conf")])
    script = capsys.readouterr().out
    assert "#SBATCH --partition=small\n" in script
    assert "#SBATCH --account=me\n" in script
    del raw


def test_without_slurm_a_step_cannot_be_submitted_and_that_is_one_line(
    dataset: Path, raw: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="2"):
        command.main(["step=verify", f"dataset={dataset}", "run.submit=slurm"])
    error = capsys.readouterr().err
    assert "there is no scontrol here" in error
    assert error.count("\n") == 1
    del raw
