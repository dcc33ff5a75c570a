from __future__ import annotations

from pathlib import Path

import pytest

from dit_video.runs import attempts
from dit_video.slurm import attempt
from dit_video.slurm.settle import Verdict


def start(run: Path, name: str, verdict: str | None) -> None:
    folder = run / attempts.FOLDER / name
    folder.mkdir(parents=True)
    if verdict is not None:
        (folder / attempt.VERDICT).write_text(verdict)


def test_the_newest_start_comes_first_with_what_settle_has_decided(tmp_path: Path) -> None:
    start(tmp_path, "9-0", Verdict("exit", 0, why="done").text)
    start(tmp_path, "12-2", Verdict("requeue", 137, 30, "node2", why="rank 1 on node2 was ended by SIGKILL").text)
    start(tmp_path, "12-1", "exit 1 0\n")
    start(tmp_path, "12-10", None)
    said = list[str]()
    assert list(attempts.attempts(tmp_path, said=said.append)) == [
        "12-10: no verdict: it runs, was cut off, or was cancelled",
        "12-2: rank 1 on node2 was ended by SIGKILL",
        "12-1: exit 1 0",
        "9-0: done",
    ]
    assert said == []
    assert [line[:4] for line in attempts.attempts(tmp_path, said=said.append, told={"12-2", "12-1"})] == [
        "12-1",
        "9-0:",
    ]


def test_the_last_decision_is_that_of_the_newest_start(tmp_path: Path) -> None:
    assert attempts.last(tmp_path, said=[].append) is None
    start(tmp_path, "9-0", Verdict("exit", 2, why="error: no such key").text)
    found = attempts.last(tmp_path, said=[].append)
    assert found is not None
    assert (found.job, found.why, found.ends, found.failed) == ("9", "error: no such key", True, True)
    start(tmp_path, "9-1", None)
    assert attempts.last(tmp_path, said=[].append) is None


@pytest.mark.parametrize(
    ("then", "code", "ends", "failed"),
    [("exit", 0, True, False), ("exit", 130, True, False), ("exit", 75, True, False), ("requeue", 137, False, False)],
)
def test_only_a_failure_that_ends_the_job_is_one(
    tmp_path: Path, then: str, code: int, ends: bool, failed: bool
) -> None:
    start(tmp_path, "9-0", Verdict(then, code, 30, "node2", why="of that").text)
    found = attempts.last(tmp_path, said=[].append)
    assert found is not None
    assert (found.ends, found.failed) == (ends, failed)


def test_many_starts_are_counted(tmp_path: Path) -> None:
    for count in range(9):
        start(tmp_path, f"12-{count}", None)
    lines = list(attempts.attempts(tmp_path, said=[].append))
    assert len(lines) == attempts.SHOWN + 1
    assert lines[-1] == "and 4 more"
