"""What a run's state is, for every way in which it may have come to stand as it does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from fake.trained import age, failed

from dit_video.runs import lock, record, sign, state
from dit_video.runs.state import State
from dit_video.slurm.client import Job, parse

Make, Hold = Callable[..., Path], Callable[[Path], AbstractContextManager[int]]

AWAY = {"host": "node9"}


def judged(folder: Path, *jobs: Job) -> State:
    return state.judge(record.read(folder, name="a"), jobs={job.id: job for job in jobs}, now=time.time())


def job(word: str, *, restarts: int = 0, reason: str = "None", end: float | None = None) -> Job:
    ended = datetime.fromtimestamp(end or time.time()).isoformat(timespec="seconds")
    begun = datetime.fromtimestamp(time.time() - 80).isoformat(timespec="seconds")
    line = f"JobId=12 JobName=a JobState={word} Reason={reason} Restarts={restarts} ExitCode=1:0"
    return parse(f"{line} StartTime={begun} EndTime={ended} NodeList=node[1-2] Partition=main TimeLimit=1:00 WorkDir=/")


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_run_that_holds_its_lock_runs(make: Make, hold: Hold) -> None:
    folder = make()
    with hold(folder):
        found = judged(folder)
    assert (found.word, found.hosts, found.started, found.why) == ("running", socket.gethostname(), True, "")


def test_before_its_first_step_it_starts(make: Make, hold: Hold) -> None:
    folder = make(more={"stepped": None})
    with hold(folder):
        assert (judged(folder).word, judged(folder).why) == ("running", "starting")


def test_what_another_process_has_said_is_not_of_the_one_that_holds_the_lock(make: Make, hold: Hold) -> None:
    folder = make(how="failed", text="old")
    (folder / ".lock").write_text(f"process 1 on {socket.gethostname()}\n")
    with hold(folder):
        assert (judged(folder).word, judged(folder).why) == ("running", "starting")


def test_what_hangs_is_told_though_it_lives(make: Make, hold: Hold) -> None:
    folder = make(more={"stepped": time.time() - 1000})
    with hold(folder):
        assert judged(folder).why == "no step for 16 min"
        age(folder, 1000)
        assert judged(folder).word == "running"
        assert judged(folder).why == "no sign of life for 16 min"


def test_a_killed_run_is_stopped(make: Make, hold: Hold) -> None:
    folder = make(saved=5)
    with hold(folder):
        pass
    found = judged(folder)
    assert found.word == "stopped"
    assert "without a word" in found.why


def test_a_run_elsewhere_without_locks_runs_while_it_shows_signs_of_life(make: Make) -> None:
    folder = make(more=AWAY)
    assert (judged(folder).word, judged(folder).hosts) == ("running", "node9")
    age(folder, 1000)
    assert judged(folder).word == "stopped"
    assert "node9" in judged(folder).why


def test_a_lock_that_a_lost_machine_still_holds_is_no_life(make: Make, hold: Hold) -> None:
    folder = make(more=AWAY)
    with hold(folder):
        assert judged(folder).word == "running"
        age(folder, 1000)
        assert (judged(folder).word, judged(folder).hosts) == ("lost", "node9")
        folder_with_job = make("b", more=AWAY | {"job": "12"})
        age(folder_with_job, 1000)
        with hold(folder_with_job):
            assert judged(folder_with_job, job("PENDING", restarts=1)).word == "requeued"
            assert judged(folder_with_job, job("RUNNING")).word == "running"


@pytest.mark.parametrize(
    ("how", "word"),
    [("done", "done"), ("stopped", "stopped"), ("interrupted", "stopped"), ("short", "stopped"), ("failed", "failed")],
)
def test_a_run_that_has_said_how_it_ended_is_believed(make: Make, how: str, word: str) -> None:
    found = judged(make(how=how, text="of that", saved=5))
    assert found.word == word
    assert ("of that" in found.why) == (how in {"short", "failed"})


def test_all_samples_saved_is_done_whoever_says_nothing(make: Make) -> None:
    assert judged(make(saved=20)).word == "done"
    assert judged(make("b", saved=20, signed=False)).word == "stopped"  # nobody knows how many there should be


def test_between_two_attempts_it_runs_as_long_as_its_parent_lives(make: Make, parent: subprocess.Popen[bytes]) -> None:
    folder = make(more={"parent": sign.identity(parent.pid)})
    assert judged(folder).word == "running"
    failed(folder, restarted=True)
    found = judged(folder)
    assert found.word == "running"
    assert found.why == "starting again after rank 1 on node1 failed in step 5: ValueError: no"
    parent.kill()
    parent.wait()
    assert judged(folder).word == "stopped"
    assert "as one that was killed after rank 1" in judged(folder).why


def test_a_failure_that_no_restart_mends_is_the_reason(make: Make) -> None:
    folder = make(how="failed", text="a consequence, as this rank saw it")
    failed(folder, restarted=False)
    assert (judged(folder).word, judged(folder).why) == ("failed", "rank 1 on node1 failed in step 5: ValueError: no")


def test_a_failure_before_the_last_start_is_past(make: Make) -> None:
    folder = make(how="stopped", saved=5)
    failed(folder, restarted=False, at=time.time() - 1000)
    assert judged(folder).word == "stopped"


def test_a_run_that_waits_for_its_first_start_is_queued(make: Make) -> None:
    folder = make(signed=False, rows=0)
    (folder / ".lock").unlink()
    (folder / "slurm").mkdir()
    (folder / "slurm/jobs.jsonl").write_text('{"job": "12"}\n')
    found = judged(folder, job("PENDING", reason="Resources"))
    assert (found.word, found.why) == ("queued", "job 12 waits: Resources")
    assert judged(folder, job("RUNNING")).word == "running"
    assert judged(folder).word == "stopped"
    assert judged(folder, job("FAILED")).word == "failed"


def test_a_job_that_waits_again_is_requeued_and_says_why(make: Make) -> None:
    folder = make(more={"job": "12"}, saved=5)
    failed(folder, restarted=True)
    found = judged(folder, job("PENDING", restarts=1, reason="BeginTime"))
    assert found.word == "requeued"
    assert "ValueError: no" in found.why
    assert "BeginTime" in found.why


def test_a_done_run_that_is_to_go_on_is_requeued(make: Make) -> None:
    folder = make(how="done", more={"job": "12"}, saved=20)
    assert judged(folder, job("PENDING")).word == "requeued"
    assert judged(folder, job("COMPLETED")).word == "done"


def test_a_done_run_whose_next_job_failed_before_it_trained_is_failed(make: Make) -> None:
    own = {"job": "11", "began": time.time() - 1000}
    folder = make(how="done", more=own, saved=20)
    (folder / "slurm").mkdir()
    (folder / "slurm/jobs.jsonl").write_text('{"job": "11"}\n{"job": "12"}\n')
    found = judged(folder, job("FAILED"))
    assert (found.word, found.why) == ("failed", "job 12 ended: FAILED, exit code 1")
    assert judged(folder, job("CANCELLED")).word == "done"
    assert judged(make("b", how="done", more=own | {"job": "12", "began": time.time()}), job("FAILED")).word == "done"


@pytest.mark.parametrize(
    ("how", "verdict", "word", "why"),
    [
        ("stopped", "exit 2\nerror: no such key\n", "failed", "error: no such key"),
        ("done", "exit 2\nerror: no such key\n", "failed", "error: no such key"),
        ("stopped", "requeue 75 0\nstopped\n", "stopped", "stopped, but SLURM no longer knows job 12, as one that was"),
        ("stopped", "exit 130\nstopped by a signal\n", "stopped", "it was stopped by a signal, and saved"),
    ],
)
def test_what_slurm_has_forgotten_is_as_it_was_settled(make: Make, how: str, verdict: str, word: str, why: str) -> None:
    folder = make(how=how, more={"job": "11", "began": time.time() - 1000}, saved=5)
    start = folder / "slurm/attempts/12-0"
    start.mkdir(parents=True)
    (start / "verdict").write_text(verdict)
    now = datetime.now().astimezone().isoformat()
    (folder / "slurm/jobs.jsonl").write_text(json.dumps({"job": "12", "time": now}) + "\n")
    found = judged(folder)
    assert (found.word, found.why[: len(why)]) == (word, why)
    make(how="stopped")  # it went on without SLURM
    os.utime(start / "verdict", (time.time() - 500,) * 2)
    assert (judged(folder).word, judged(folder).why) == ("stopped", "it was stopped by a signal, and saved")


def test_a_cancelled_job_is_cancelled_though_its_ranks_have_saved(make: Make) -> None:
    folder = make(how="stopped", more={"job": "12"}, saved=5)
    assert judged(folder, job("CANCELLED")).word == "cancelled"
    assert judged(folder, job("CANCELLED", end=time.time() - 1000)).word == "stopped"  # before it went on elsewhere


@pytest.mark.parametrize(
    ("word", "expected"),
    [("FAILED", "failed"), ("OUT_OF_MEMORY", "failed"), ("NODE_FAIL", "stopped"), ("TIMEOUT", "stopped")],
)
def test_a_job_that_ended_under_a_run_without_a_word_is_the_reason(make: Make, word: str, expected: str) -> None:
    folder = make(more={"job": "12"}, saved=5)
    found = judged(folder, job(word))
    assert found.word == expected
    assert word in found.why


def test_the_run_knows_its_failure_better_than_its_job(make: Make) -> None:
    folder = make(how="failed", text="of that", more={"job": "12"})
    assert judged(folder, job("FAILED")).why == "of that"


def test_where_the_system_tells_of_no_locks_its_own_process_is_asked_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(more={"process": os.getpid()})
    known = lock.look(folder)
    assert known is not None
    untold = replace(known, held=None)
    monkeypatch.setattr("dit_video.runs.lock.look", lambda _: untold)
    assert judged(folder).word == "running"
    with subprocess.Popen(["true"]) as ended:
        pass
    monkeypatch.setattr("dit_video.runs.lock.look", lambda _: replace(untold, process=ended.pid))
    make(more={"process": ended.pid})
    assert judged(folder).word == "stopped"


def test_a_job_whose_ranks_have_ended_sees_to_what_follows_or_starts_them_again(make: Make) -> None:
    now, before = time.time() - 100, time.time() - 1000  # they end 50 s later, and the job began 80 s ago
    for began, why in ((now, "of that; job 12 sees to what follows"), (before, "starting")):
        found = judged(make(how="failed", text="of that", more={"job": "12", "began": began}), job("RUNNING"))
        assert (found.word, found.why) == ("running", why)


@pytest.mark.parametrize(
    ("word", "expected"), [("PENDING", "requeued"), ("CANCELLED", "cancelled"), ("NODE_FAIL", "stopped")]
)
def test_slurm_knows_sooner_than_the_signs_of_a_lost_node_that_it_is_gone(make: Make, word: str, expected: str) -> None:
    folder = make(more=AWAY | {"job": "12"}, saved=5)
    assert judged(folder).word == "running"
    assert judged(folder, job(word, restarts=1)).word == expected


def test_a_stop_that_was_saved_is_no_failure_whatever_the_exit_code_of_its_job(make: Make) -> None:
    folder = make(how="stopped", more={"job": "12"}, saved=5)
    assert judged(folder, job("FAILED")).word == "stopped"
