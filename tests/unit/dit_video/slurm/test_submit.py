"""Jobs of a real SLURM, from the request to the log."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake.cluster import Cluster

from dit_video.config import Run
from dit_video.errors import ClusterError, ConfigError
from dit_video.slurm import client, submit
from dit_video.slurm.script import Size
from dit_video.slurm.settings import Slurm

SAYS = "import os, sys; print('it says', sys.argv[1:], os.environ.get('A')); sys.exit(int(sys.argv[1]))"


SUBMITS = """
import sys
from pathlib import Path
from dit_video.slurm import settings, submit
given = settings.Slurm(options=["--hold"])
submit.hand_over([submit.sampling(given, work=Path(sys.argv[1]), device="cpu", command=["a.py"], dry=False)])
"""
SHELL = Slurm(signal="shell", options=["--no-requeue"])


def request_in(folder: Path, code: int = 0, **settings: object) -> submit.Request:
    """A job that says something, and ends with `code`."""
    program = folder / "says.py"
    program.write_text(SAYS, encoding="utf-8")
    slurm = Slurm(**settings)  # type: ignore[arg-type]
    return submit.sampling(
        slurm, work=folder / "a b.mp4", device="cpu", command=[str(program), str(code), "x y"], dry=False
    )


@pytest.mark.parametrize("code", [0, 5])
def test_a_job_runs_and_its_exit_code_passes_on(
    slurm: Cluster, tmp_path: Path, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    request = request_in(tmp_path, code, environment={"A": "it's"})
    submit.hand_over([request])
    row = json.loads((request.folder / submit.TABLE).read_text(encoding="utf-8"))
    assert slurm.wait(row["job"], 60) == ("FAILED" if code else "COMPLETED")
    job = client.job(row["job"])
    assert job is not None
    assert job.code == code
    log = request.folder / f"{row['job']}.out"
    assert f"it says ['{code}', 'x y'] it's" in log.read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert f"tail -F '{log}'" in said
    assert f"scancel {row['job']}" in said
    again = subprocess.run(["sbatch", "--parsable", row["script"]], capture_output=True, text=True, check=True)
    slurm.wait(again.stdout.strip(), 60)
    assert (request.folder / f"{again.stdout.strip()}.out").exists()


def test_a_job_is_not_submitted_twice(slurm: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waiting, other = request_in(tmp_path, options=["--hold"]), tmp_path / "other"
    other.mkdir()
    submit.hand_over([waiting])
    number = json.loads((waiting.folder / submit.TABLE).read_text(encoding="utf-8"))["job"]
    with pytest.raises(ConfigError, match=rf"is job {number} already \(pending\); `scancel {number}`"):
        submit.hand_over([waiting])
    submit.hand_over([waiting, request_in(other)])
    said = capsys.readouterr().out
    assert f"is job {number} already" in said
    client.cancel(number)
    slurm.wait(json.loads((request_in(other).folder / submit.TABLE).read_text(encoding="utf-8"))["job"], 60)


def test_of_three_at_once_one_is_submitted(slurm: Cluster, tmp_path: Path) -> None:
    command, pipe = [sys.executable, "-c", SUBMITS, str(tmp_path / "a.mp4")], subprocess.PIPE
    started = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    said = [process.communicate() for process in started]
    jobs = client.made_of({tmp_path / "a.slurm/job.sbatch"})
    for job in jobs:
        client.cancel(job.id)
    assert len(jobs) == 1, said
    assert sorted(process.returncode for process in started) == [0, 1, 1], said


@pytest.mark.parametrize(
    ("settings", "size", "said"),
    [
        ({"partition": "nope"}, Size(), r"run\.submit\.partition, one of main, high"),
        ({"time": "3-0"}, Size(), r"run\.submit\.time=3-0 is over the limit of partition main"),
        ({}, Size(nodes=9), r"trainer\.num_nodes=9 and partition main gives 3"),
        ({}, Size(gpus=3), r"trainer\.devices.*3 GPU\(s\) each"),
        ({"grace": 99999}, Size(), r"change run\.submit\.grace \(now"),
        ({"options": ["--foo"]}, Size(), r"'--foo'; change run\.submit\.options"),
        ({"constraint": "h100"}, Size(), r"change run\.submit\.constraint"),
    ],
)
def test_what_slurm_would_not_run_is_told_and_taken_back(
    slurm: Cluster, tmp_path: Path, settings: dict[str, object], size: Size, said: str
) -> None:
    request = replace(request_in(tmp_path, **settings), size=size, template="train")
    with pytest.raises(ClusterError, match=said) as caught:
        submit.hand_over([request])
    assert "\n" not in str(caught.value)
    assert not [job for job in client.jobs() if job.script == request.path and not job.over]
    assert [path.name for path in tmp_path.iterdir()] == ["says.py"]


def test_of_a_sweep_it_is_said_what_is_submitted_before_one_is_refused(
    slurm: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b").mkdir()
    good, bad = request_in(tmp_path, options=["--hold"]), request_in(tmp_path / "b", partition="nope")
    with pytest.raises(ClusterError, match=r"run\.submit\.partition.* \(of 2 jobs 1 are submitted; the same command"):
        submit.hand_over([good, bad])
    assert not bad.folder.exists()
    [job] = client.made_of({good.path})
    client.cancel(job.id)
    assert f"job {job.id}:" in capsys.readouterr().out


def test_two_points_of_a_sweep_in_one_folder_are_refused(tmp_path: Path) -> None:
    same = request_in(tmp_path, options=["--hold"])
    with pytest.raises(ConfigError, match=rf"two points of the sweep have one folder, {tmp_path}/a b\.mp4"):
        submit.hand_over([same, replace(same, command=("other",))])
    assert [path.name for path in tmp_path.iterdir()] == ["says.py"]


def test_a_dry_run_shows_the_script_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submit.hand_over([replace(request_in(tmp_path, options=["--hold"]), dry=True)])
    text = capsys.readouterr().out
    assert text.startswith("#!/bin/bash\n")
    assert "#SBATCH --hold" in text
    assert [path.name for path in tmp_path.iterdir()] == ["says.py"]


def test_a_variable_that_the_shell_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="this shell has no SOME_TOKEN"):
        submit.hand_over([request_in(tmp_path, environment={"SOME_TOKEN": None})])


@pytest.mark.parametrize("devices", ["auto", -1, "0,1"])
def test_ranks_of_a_node_must_be_said(devices: object) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.devices=.* says nothing about the cluster's nodes"):
        submit.size(Slurm(), trainer={"devices": devices})


def test_the_size_follows_the_trainer() -> None:
    assert submit.size(Slurm(min_nodes=1), trainer={"devices": 8, "num_nodes": 4, "accelerator": "gpu"}) == Size(
        nodes=4, least=1, tasks=8, gpus=8
    )
    assert submit.size(Slurm(), trainer={"devices": [0, 1], "accelerator": "cpu"}) == Size(tasks=2)
    with pytest.raises(ConfigError, match=r"min_nodes=3 is more than trainer\.num_nodes=2"):
        submit.size(Slurm(min_nodes=3), trainer={"devices": 1, "num_nodes": 2})


def test_a_training_has_its_scripts_in_its_folder(tmp_path: Path) -> None:
    run = Run(name="a", dir=str(tmp_path / "r% s"), seed=0, samples=1, every_samples=1, submit=SHELL)
    request = submit.training(run, trainer={"devices": 2, "num_nodes": 2}, command=["train.py", "run.name=a"])
    text = request.text()
    assert request.path == tmp_path / "r% s/slurm/job.sbatch"
    assert f'#SBATCH --output="{tmp_path}/r%% s/slurm/%j.out"' in text
    assert "#SBATCH --signal=B:USR1@120" in text
    assert "#SBATCH --requeue" in text
    assert text.index("#SBATCH --requeue") < text.index("#SBATCH --no-requeue")  # the last one holds
    assert f"{Path.cwd() / 'train.py'} run.name=a" in text


def test_what_nobody_reads_is_no_reason_to_end() -> None:
    line = "from dit_video.slurm import submit; input(); submit.tell('a'); submit.tell('b')"
    command, pipe = [sys.executable, "-c", line], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert process.communicate(b"\n")[1] == b""
    assert process.returncode == 0


def test_letters_are_taken_as_they_are_but_null() -> None:
    assert "run.submit.time" in submit.texts(["run.submit.time=90"])
    assert "run.submit.time" not in submit.texts(["run.submit.time=null"])


def test_a_job_does_not_submit_itself() -> None:
    assert submit.inside({submit.ATTEMPT: "a"})
    assert not submit.inside({})
