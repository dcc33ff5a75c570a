"""Trainings that are submitted as a user does it, and what happens to them; the soak has all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import forked, kills
from fake.cluster import Cluster
from fake.submitted import TINY, WATCHED, submitted

ROOT = Path(__file__).resolve().parents[4]
TWO = ("trainer=cpu", "trainer.num_nodes=2", "run.every_samples=8")
ONE = ("trainer=cpu", "run.every_samples=4")


@pytest.mark.timeout(900)
def test_signal_and_killed_rank_change_no_bit(slurm: Cluster, tmp_path: Path) -> None:
    """Told to stop, it saves and goes on; a rank is killed, it goes on: in the end all is as on this machine alone."""
    samples = "run.samples=240"
    with submitted(slurm, tmp_path / "slurm", [*TINY, *TWO, samples], pace=0.2) as job:
        job.trained(4)
        slurm.client("scancel", "--signal=USR1", job.job)
        job.restarted(1)
        again = job.history[-1].time
        job.trained(3, since=again)
        os.kill(job.rank(), signal.SIGKILL)
        job.restarted(2)
        job.pace(0)
        job.finish()
    oracle = tmp_path / "here"
    oracle.mkdir()
    alone = forked.start(oracle, [*TINY, samples, "run.every_samples=8", "trainer=cpu2", WATCHED[0]], ranks=2)
    assert alone.returncode == 0, alone.stderr
    assert list(kills.differences(job.folder, oracle)) == []
    assert len(kills.curve(oracle)) == 60
    (row,) = job.restarts()
    assert (row["kind"], row["rank"], row["restarted"]) == ("signal", 1, True), row
    assert "SIGKILL" in row["cause"]


@pytest.mark.timeout(600)
def test_a_bug_ends_the_job(slurm: Cluster, tmp_path: Path) -> None:
    """An exception at the same step again and again: the job ends soon, and `runs status` says why."""
    crash = "callbacks.crash={_target_: fake.crash.Crash, kind: exception, step: 6, rank: 0, folder: ., always: true}"
    with submitted(slurm, tmp_path / "bug", [*TINY, *ONE, "run.samples=40", crash]) as job:
        job.finish(state="FAILED")
    assert [row["step"] for row in job.restarts()] == [6, 6]
    command = [sys.executable, "-m", "dit_video.runs", "status", str(job.run)]
    told = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    assert "RuntimeError: boom" in told.stdout
    assert job.job in told.stdout
