"""A run killed at any step and started again is the run that was not: `train.py` itself with a fake task and data."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dit_video import checkpoint

sys.path.append(str(Path(__file__).resolve().parents[1] / "fakes"))
from fake import forked

pytestmark = pytest.mark.xdist_group("train")
ENTRY = Path(__file__).resolve().parents[1] / "fakes" / "train.py"
FAKES = [
    "tasks._target_=fake.task.FakeTask",
    "tasks.optim=${optim}",
    "datamodules._target_=fake.datamodule.FakeData",
    "optim.schedule.warmup=4",
    "run.name=a",
    "run.samples=40",
    "run.every_samples=8",
    "logger=csv",
]


def start(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """One command in `folder`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ENTRY), *FAKES, *overrides]
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=120, check=False
    )


def curve(folder: Path) -> list[tuple[str, str, str]]:
    """Step, loss and rate of every row, as written: the same bits are the same text."""
    with (folder / "outputs/runs/a/metrics.csv").open(encoding="utf-8") as file:
        return [(row["step"], row["loss"], row["lr"]) for row in csv.DictReader(file)]


def same_weights(one: Path, other: Path) -> bool:
    """Whether the newest checkpoints hold the same tensors, raw and averaged."""
    paths = [checkpoint.latest(folder / "outputs/runs/a/checkpoints") for folder in (one, other)]
    for ema in (False, True):
        first, second = (checkpoint.weights(path, ema=ema) for path in paths if path is not None)
        if set(first) != set(second) or any(not torch.equal(first[name], second[name]) for name in first):
            return False
    return True


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run."""
    folder = tmp_path_factory.mktemp("oracle")
    done = start(folder, "optim=muon")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("optim.lr=0.5", "optim.lr"),
        ("run.seed=1", "run.seed"),
        ("callbacks.ema=null", "callbacks.ema"),
        ("callbacks.checkpoint=null", "callbacks.checkpoint"),
        ("callbacks.ema.half_life=5", "callbacks.ema.half_life"),
    ],
)
def test_resume_with_other_settings_names_the_key(oracle: Path, override: str, key: str) -> None:
    refused = forked.start(oracle, [*FAKES, "optim=muon", "run.samples=44", override])
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {key} is ")
    assert refused.stderr.count("\n") == 1


def test_a_run_on_latents_can_be_sampled_whatever_its_callbacks(tmp_path: Path) -> None:
    latents = ["datamodules._target_=fake.datamodule.FakeLatents", "callbacks=default"]
    done = forked.start(tmp_path, [*FAKES, *latents])
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "outputs/runs/a/recipe.json").read_text(encoding="utf-8"))
    assert about == {"vae": str(tmp_path / "vae"), "vae_from_here": "../../../vae", "vae_hash": "0", "fps": 8.0}


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    with checkpoint.lock(tmp_path / "outputs/runs/a"):
        refused = forked.start(tmp_path, FAKES)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        f"error: run.dir=outputs/runs/a is in use by another train.py (process {os.getpid()}"
    )


@pytest.mark.timeout(300)
def test_resume_is_bit_identical(oracle: Path, tmp_path: Path) -> None:
    kill = "callbacks.kill={_target_: fake.kill.Kill, step: 13, signal: SIGKILL}"
    killed = start(tmp_path, "optim=muon", "logger=wandb", kill)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = start(tmp_path, "optim=muon", "logger=wandb")
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"resuming at step (8|12),", resumed.stdout)  # that of step 12 may have been under way
    assert curve(tmp_path) == curve(oracle)
    assert same_weights(tmp_path, oracle)
    parts = list((tmp_path / "outputs/runs/a/wandb").glob("offline-run-*"))
    assert len(parts) == 2
    assert len({path.name.rpartition("-")[2] for path in parts}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.timeout(300)
def test_sigterm_saves_and_exits_with_the_code_that_requeues(oracle: Path, tmp_path: Path) -> None:
    stopped = start(tmp_path, "optim=muon", "callbacks.kill={_target_: fake.kill.Kill, step: 13, signal: SIGTERM}")
    assert stopped.returncode == 75, stopped.stderr
    resumed = start(tmp_path, "optim=muon")
    assert "resuming at step 14" in resumed.stdout, resumed.stderr
    assert curve(tmp_path) == curve(oracle)
    assert same_weights(tmp_path, oracle)


@pytest.mark.timeout(300)
def test_two_processes_stop_together_and_resume(tmp_path: Path) -> None:
    kill = "callbacks.kill={_target_: fake.kill.Kill, step: 5, signal: SIGTERM, rank: 1}"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    assert (done := start(whole, "trainer=cpu2")).returncode == 0, done.stderr
    assert (stopped := start(parts, "trainer=cpu2", kill)).returncode == 75, stopped.stderr
    resumed = start(parts, "trainer=cpu2")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at step 6" in resumed.stdout
    assert curve(parts) == curve(whole)
    assert same_weights(parts, whole)


def test_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    done = forked.start(tmp_path, [*FAKES, "datamodules.nan_at=9", "callbacks.finite.policy=stop"])
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: step 10: the loss is nan")
    assert "9-0 9-1" in done.stderr
    newest = checkpoint.latest(tmp_path / "outputs/runs/a/checkpoints")
    assert newest is not None
    assert checkpoint.progress(newest).step == 8
    assert all(torch.isfinite(value).all() for value in checkpoint.weights(newest).values())


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("optim.lrr=1", "did you mean lr?"),
        ("trainer=gpuu", "did you mean gpu?"),
        ("experiment=quickstart/dti", "did you mean quickstart/dit?"),
        ("experiment=nope", "quickstart/dit"),
        ("rnu.samples=3", "did you mean run?"),
        ("run.samples=many", "run.samples must be int"),
        ("run.samples=1e9", "run.samples must be int"),
        ("run.samples=???", "run.samples is not set"),
        ("run.dir=", "run.dir is empty"),
        ("run.dir=${nope}", "nope"),
        ("run.plan=true", "FakeTask cannot be rehearsed"),
        ("run.plan=yes", "run.plan must be bool or 'json'"),
        ("run.ranks=8", "run.ranks=8 says nothing without a plan; add run.plan=true"),
        ("run.dir=/proc/nope", "run.dir=/proc/nope cannot be written to"),
        ("trainer=null", "trainer is not chosen"),
        ("trainer.devices=9999", "trainer.devices is 9999 and this machine has"),
        ("trainer.accelerator=gpu", "set trainer=cpu"),
        ("trainer.precision=nonsense", "'nonsense'"),
        ("trainer._target_=os.system", "only names under"),
        ("trainer._target_=lightning.pytorch.trainer.connectors.signal_connector.call", "leads to subprocess"),
        ("optim.lr=[", "optim.lr=["),
        ("callbacks.emma.ramp=1", "did you mean ema?"),
        ("models/dit=nothing", "models/dit"),
        ("optim.schedule.warmup=50", "optim.schedule.warmup"),
        ("parallel.shard=2", "the trainer starts 1"),
        ("run.submit=slrum", "did you mean slurm?"),
        ("run.submit.time=9", "run.submit.time is set but no run/submit is chosen"),
        ("run.dry=true", "add run.submit=slurm"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, override: str, hint: str) -> None:
    done = forked.start(tmp_path, [*FAKES, override])
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert hint in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_any_name_is_taken_letter_by_letter(tmp_path: Path) -> None:
    folder = "it's a,b=[c] {ü} \"#: d"
    done = forked.start(
        tmp_path, [*FAKES, "run.samples=2", "optim.schedule.warmup=0", f"run.dir={folder}/${{run.name}}"]
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / folder / "a" / "metrics.csv").is_file()


def test_a_trainer_that_ends_early_does_not_say_done(tmp_path: Path) -> None:
    done = forked.start(tmp_path, [*FAKES, "trainer.max_steps=2"])
    assert done.returncode == 0
    assert "a ended by a setting of trainer.* at 4 of 40 samples" in done.stdout


def test_points_of_a_sweep_are_runs_in_folders_of_their_own(tmp_path: Path) -> None:
    done = forked.start(tmp_path, [*FAKES, "run.samples=8", "-m", "optim.lr=1e-1,2e-1", "callbacks.ema=null"])
    assert done.returncode == 0, done.stderr
    found = sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("metrics.csv"))
    assert found == ["outputs/runs/a/optim.lr=0.1", "outputs/runs/a/optim.lr=0.2"]
    assert done.stdout.splitlines()[-1] == "all of them: python -m dit_video.runs status outputs/runs/a"
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["runs"]


def test_a_job_is_shown_for_each_point(tmp_path: Path) -> None:
    done = forked.start(tmp_path, [*FAKES, "-m", "optim.lr=0.1,0.2", "run.submit=slurm", "run.dry=true"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("#!/bin/bash") == 2
    assert re.search(r"#SBATCH --output=\S+/outputs/runs/a/optim\.lr=0\.2/slurm/%j\.out\n", done.stdout)
    assert re.search(
        r" optim\.lr=0\.2 \\\n +run\.name=a/optim\.lr=0\.2 \\\n +run\.dir=outputs/runs/a/optim\.lr=0\.2 &", done.stdout
    )
    assert list(tmp_path.iterdir()) == []


def test_what_would_be_refused_in_the_job_is_refused_before(tmp_path: Path) -> None:
    saved = tmp_path / "outputs/runs/a/checkpoints/000000000008-00000004"
    saved.mkdir(parents=True)
    shown = forked.start(tmp_path, [*FAKES, "--cfg", "job", "--resolve"])
    (saved / "config.yaml").write_text(shown.stdout, encoding="utf-8")
    size = (saved / "config.yaml").stat().st_size
    (saved / "manifest.json").write_text(json.dumps({"files": {"config.yaml": {"bytes": size}}}))
    submitted = [*FAKES, "run.submit=slurm", "run.dry=true", "trainer.num_nodes=2"]
    assert forked.start(tmp_path, submitted).returncode == 0
    for override, said in (("optim.lr=0.5", "error: optim.lr is 0.5 and the run in"), ("parallel.shard=3", "starts 2")):
        refused = forked.start(tmp_path, [*submitted, override])
        assert refused.returncode == 2
        assert said in refused.stderr


@pytest.mark.timeout(60)
def test_a_dry_run_prints_the_settings(tmp_path: Path) -> None:
    done = start(tmp_path, "--cfg", "job", "--resolve")
    assert done.returncode == 0
    assert "total: 40" in done.stdout
    assert list(tmp_path.iterdir()) == []
