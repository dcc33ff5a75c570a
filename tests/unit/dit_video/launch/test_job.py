"""Who has a parent, and how often it starts the ranks again."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dit_video.config import Run
from dit_video.launch import job
from dit_video.launch.shared import ATTEMPT

RUN = Run(name="a", dir="b", seed=0, samples=1, every_samples=1)
SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}
ONE, TWO = {"accelerator": "cpu", "devices": 1}, {"accelerator": "cpu", "devices": 2}


@pytest.fixture(autouse=True)
def _started_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_STEP_ID", ATTEMPT):
        monkeypatch.delenv(name, raising=False)


def restarts(run: Run, trainer: dict[str, object]) -> int | None:
    """Those of the job; None where there is none."""
    found = job(run, trainer=trainer, patience=math.inf)
    return found and found.restarts


def test_one_process_on_a_cpu_has_no_parent_unless_it_is_to_be_restarted() -> None:
    assert restarts(RUN, ONE) is None
    assert restarts(replace(RUN, restarts=2), ONE) == 2


def test_a_gpu_and_several_processes_have_one() -> None:
    assert restarts(RUN, TWO) == 3
    assert restarts(RUN, {"accelerator": "gpu", "devices": 1}) == 3
    assert restarts(replace(RUN, restarts=0), TWO) == 0
    assert restarts(replace(RUN, restarts=0), {"accelerator": "gpu", "devices": 1}) is None


def test_what_others_have_started_is_watched_and_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert restarts(RUN, TWO) is None
    assert restarts(replace(RUN, restarts=1), TWO) == 0
    assert restarts(RUN, {"accelerator": "gpu", "devices": 2}) == 0


def test_a_task_of_srun_is_always_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert restarts(RUN, ONE) == 0
    assert restarts(replace(RUN, restarts=0), ONE) == 0


def test_a_submitted_job_keeps_its_budget_for_whoever_settles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ATTEMPT, "attempts/7-0")
    assert restarts(RUN, ONE) == 3
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    assert restarts(RUN, TWO) == 3
    assert restarts(replace(RUN, restarts=0), TWO) == 0
    monkeypatch.delenv(ATTEMPT)
    assert restarts(RUN, TWO) == 0
