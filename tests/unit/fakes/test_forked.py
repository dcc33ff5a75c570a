"""A command in a fork is the command of the shell, to the bit; so what is proven of the one holds for the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "fakes"))
from fake import forked, kills

FAKES = Path(__file__).resolve().parents[2] / "fakes"
pytestmark = pytest.mark.xdist_group("train")
RUN = ["tasks._target_=fake.task.FakeTask", "tasks.optim=${optim}", "datamodules._target_=fake.datamodule.FakeData"]
RUN += ["optim=muon", "optim.schedule.warmup=4", "run.name=a", "run.samples=24", "run.every_samples=8", "logger=csv"]
RECORD = f"callbacks.record={{_target_: fake.record.Record, path: {kills.SEEN}}}"


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_fork_is_the_command(tmp_path: Path, ranks: int) -> None:
    shell, fork = tmp_path / "shell", tmp_path / "fork"
    shell.mkdir()
    fork.mkdir()
    arguments = [*RUN, RECORD, *(["trainer=cpu2"] if ranks else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(FAKES / "train.py"), *arguments]
    subprocess.run(command, cwd=shell, env=environment, check=True, capture_output=True, timeout=120)
    done = forked.start(fork, arguments, ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert list(kills.differences(shell, fork)) == []
    assert len(kills.curve(fork)) == (6 if ranks else 12)
