"""Restarts are counted since the last checkpoint, and none follows what a restart does not mend."""

from __future__ import annotations

import json
from pathlib import Path

from dit_video.launch.cause import Cause
from dit_video.launch.heartbeat import Beat
from dit_video.launch.restarts import DELAYS, Budget, keep, newest


def cause(name: str = "SIGKILL", *, step: int, done: int = 3, phase: str = "step") -> Cause:
    """Rank 1 failed."""
    beat = Beat(10, 20, phase, step, done)
    return Cause(rank=1, kind="signal", name=name, text="was ended", code=137, time=1.0, beat=beat)


def save(folder: Path, step: int) -> None:
    """A checkpoint, as far as its name tells."""
    (folder / "checkpoints" / f"{2 * step:012d}-{step:08d}").mkdir(parents=True)


def test_restarts_without_a_new_checkpoint_are_counted(tmp_path: Path) -> None:
    budget = Budget(folder=tmp_path, restarts=3)
    delays = []
    for step in (1, 2, 3):
        assert budget.refusal(cause(step=step)) is None
        delays.append(budget.delay())
    assert delays == list(DELAYS[:3])
    refusal = budget.refusal(cause(step=4))
    assert refusal is not None
    assert "run.restarts=3" in refusal


def test_a_new_checkpoint_resets_the_count(tmp_path: Path) -> None:
    budget = Budget(folder=tmp_path, restarts=1)
    for step in range(2, 12):
        save(tmp_path, step)
        assert budget.refusal(cause(step=step + 1)) is None
        assert budget.delay() == 0
    assert budget.refusal(cause(step=13)) is not None
    assert newest(tmp_path)[0] == 11


def test_equal_failures_in_one_step_are_a_bug_whatever_was_saved(tmp_path: Path) -> None:
    budget = Budget(folder=tmp_path, restarts=3)
    assert budget.refusal(cause("KeyError", step=7)) is None
    save(tmp_path, 6)
    refusal = budget.refusal(cause("KeyError", step=7, phase="start", done=0))  # it was the attempt's first step
    assert refusal is not None
    assert "twice in a row in step 7" in refusal


def test_unequal_failures_are_not(tmp_path: Path) -> None:
    budget = Budget(folder=tmp_path, restarts=9)
    for one in (
        cause("KeyError", step=7),
        cause("KeyError", step=8),
        cause("ValueError", step=8),
        cause("ValueError", step=8, phase="save"),
        cause("SIGKILL", step=0, done=0, phase="start"),
        cause("SIGKILL", step=0, done=0, phase="start"),  # before a step, anything may have happened
    ):
        assert budget.refusal(one) is None


def test_a_run_that_never_completed_a_step_is_not_started_again(tmp_path: Path) -> None:
    refusal = Budget(folder=tmp_path, restarts=3).refusal(cause(step=1, done=0, phase="start"))
    assert refusal == "the first attempt did not complete a step"


def test_what_is_lost_counts_from_the_newest_checkpoint(tmp_path: Path) -> None:
    budget = Budget(folder=tmp_path, restarts=3)
    budget.began -= 100.0
    kept = keep(tmp_path, cause(step=3), pages={0: "zero", 1: "one"})
    for step in (None, 2):
        if step is not None:
            save(tmp_path, step)
            budget.began -= 100.0
        assert budget.refusal(cause(step=3 + (step or 0))) is None
        budget.record(cause(step=3), refusal=None, kept=kept)
    rows = [json.loads(line) for line in (tmp_path / "restarts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["attempt"], row["resumes_at"], row["left"]) for row in rows] == [(1, 0, 2), (2, 2, 2)]
    assert rows[0]["seconds_lost"] >= 100.0
    assert rows[1]["seconds_lost"] < 100.0
    assert {path.name: path.read_text(encoding="utf-8") for path in kept.iterdir()} == {
        "cause.txt": "rank 1 was ended\n",
        "rank-0.txt": "zero",
        "rank-1.txt": "one",
    }
