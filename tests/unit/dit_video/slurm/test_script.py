"""The text of a job's script: the shell and sbatch read out of it what was written in."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from dit_video.slurm import script
from dit_video.slurm.script import Size
from dit_video.slurm.settings import Slurm

WORDS = ["python", "it's", "a b", "$HOME", "x=${run.dir}", "`ls`", '"', "ü", "", "a" * 120]


def test_a_command_comes_back_word_by_word() -> None:
    assert shlex.split(script.command(WORDS).replace("\\\n", "")) == WORDS
    done = subprocess.run(["bash", "-c", "printf '%s\\n' " + script.command(WORDS)], capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == WORDS


def test_options_follow_the_settings_and_the_size() -> None:
    slurm = Slurm(partition="main", time="90", cpus=4, memory="64G", account="a", options=["--mail-type=END"])
    given = script.options(slurm, name="a b", log=Path("/r/%j.out"), size=Size(nodes=4, least=2, tasks=8, gpus=8))
    asked = ["nodes=2-4", "mincpus=32", "gpus-per-node=8", "cpus-per-task=4", "mem=64G", "time=90"]
    assert {f"--{item}" for item in [*asked, "partition=main", "account=a", "job-name=a b"]} < set(given)
    assert given[-1] == "--mail-type=END"
    assert not [item for item in given if "None" in item or item.startswith(("--qos", "--exclude"))]
    assert "--gpus-per-node=a100:4" in script.options(Slurm(gpus="a100:4"), name="a", log=Path("/l"), size=Size(gpus=8))
    assert '#SBATCH --job-name="a \\"b\\""' in script.directives(['--job-name=a "b"'])


def test_worlds_are_all_that_the_job_may_start_with() -> None:
    assert Size(nodes=3, least=1, tasks=2).worlds == [2, 4, 6]
    assert Size(nodes=3, tasks=2).worlds == [6]


def test_the_limit_is_told_to_the_ranks_or_to_the_shell() -> None:
    assert script.signal(Slurm(grace=60)) == "--signal=USR1@60"
    assert script.signal(Slurm(grace=60, signal="shell")) == "--signal=B:USR1@60"


def test_setup_exports_what_has_a_value_alone() -> None:
    lines = script.setup(
        Slurm(modules=["cuda/12", "a b"], environment={"A": "it's", "HF_TOKEN": None}, setup=["ulimit -l"])
    )
    assert lines[0] == "module load cuda/12 'a b'"
    assert not [line for line in lines if "HF_TOKEN" in line]
    done = subprocess.run(
        ["bash", "-c", "\n".join([*lines[1:3], 'printf "%s|%s" "$A" "$PYTHONPATH"'])], capture_output=True
    )
    assert done.stdout.decode().split("|")[0] == "it's"
    assert done.stdout.decode().split("|")[1].split(":")[0] == str(script.ROOT)


@pytest.mark.parametrize("engine", ["pyxis", "apptainer"])
def test_a_container_sees_what_the_job_needs(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    slurm = Slurm(container="/i.sqsh", engine=engine, mounts=["/data:/d"])  # type: ignore[arg-type]
    srun, python = script.launch(slurm, mounts=[Path("/runs")], gpus=True)
    text = " ".join([*srun, *python])
    assert python[-1] == "python"
    for bound in (f"{tmp_path}:{tmp_path}", f"{script.ROOT}:{script.ROOT}", "/runs:/runs", "/data:/d"):
        assert bound in text
    assert "/i.sqsh" in text
    assert bool(srun) == (engine == "pyxis")
    assert ("--nv" in python) == (engine == "apptainer")


@pytest.mark.parametrize("template", sorted(path.stem for path in script.TEMPLATES.glob("*.sbatch")))
def test_templates_are_shell_and_all_of_them_is_filled_in(template: str) -> None:
    marks = dict.fromkeys(script.MARK.findall((script.TEMPLATES / f"{template}.sbatch").read_text()), "")
    text = script.fill(template, marks | {"command": "true", "run": "r", "wait": "1", "tasks": "1"})
    assert not script.MARK.search(text)
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
