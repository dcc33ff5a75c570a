"""Ranks without torch fail in every way: the right one is named for the right reason, and the run ends as it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake import faults

from dit_video.launch import cause, shared

ROOT = Path(__file__).resolve().parents[4]
LIGHT = ROOT / "tests" / "fakes" / "fake" / "light.py"
PARENT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from dit_video.launch import Job, World, supervise
folder, ranks, restarts, silence, *rest = sys.argv[1:]
world = World(ranks=tuple(range(int(ranks))), size=int(ranks))
job = Job(dir=Path(folder), world=world, restarts=int(restarts), silence=float(silence))
code = supervise(job, command=[sys.executable, {str(LIGHT)!r}, folder, *rest], files={{}})
assert not {{"torch", "lightning", "hydra"}} & set(sys.modules)
raise SystemExit(code)
"""


def begin(
    folder: Path,
    *faulty: str,
    ranks: int = 2,
    restarts: int = 3,
    silence: float = 2.0,
    steps: int = 20,
    every: int = 4,
    **environment: str,
) -> Any:
    """The parent as a process."""
    command = [sys.executable, "-c", PARENT, *map(str, (folder, ranks, restarts, silence, steps, every)), *faulty]
    own = {**os.environ, **environment}
    return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def task(folder: Path, rank: int, *faulty: str, steps: int = 20) -> Any:
    """The parent of one of two ranks, as a task of a job."""
    code = PARENT.replace("world = World(", "world = World(outside=True, ").replace(
        "tuple(range(int(ranks)))", f"({rank},)"
    )
    own = {"RANK": str(rank), "WORLD_SIZE": "2", "SLURMD_NODENAME": f"node{rank}", "MASTER_PORT": "1"}
    named = {shared.ATTEMPT: str(folder / "7-0"), shared.STOP: str(folder / "stop")}
    command = [sys.executable, "-c", code, *map(str, (folder, 2, 3, 2.0, steps, 4)), *faulty]
    environment = {**os.environ, **own, **named}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def endings(folder: Path) -> list[shared.Ending]:
    """What both ranks have written."""
    return [shared.read(folder / "7-0" / f"rank-{rank}.json") for rank in range(2)]


def finish(process: Any) -> tuple[int, str]:
    """Its exit code and standard error."""
    try:
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, error


def table(folder: Path) -> list[dict[str, Any]]:
    """What is written of the restarts."""
    return [json.loads(line) for line in (folder / "restarts.jsonl").read_text(encoding="utf-8").splitlines()]


def wait_for(path: Path) -> None:
    """Until there is such a file."""
    until = time.monotonic() + 20
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert path.exists()


def wait_for_ranks(folder: Path) -> list[int]:
    """The processes of ranks, when there is one."""
    until = time.monotonic() + 20
    while not (found := [path.read_text() for path in folder.glob(".process-*")]) or not all(found):
        assert time.monotonic() < until
        time.sleep(0.01)
    return [int(text) for text in found]


@pytest.mark.parametrize(
    ("kinds", "silence"),  # a rank that crashes may be slow about it, on a machine that is busy
    [(("kill", "exception", "segfault", "abort", "memory", "exit"), 20.0), (("stop", "gil", "hang"), 2.0)],
    ids=["crash", "hang"],
)
def test_the_right_rank_and_cause_are_named_and_the_run_goes_on(
    kinds: tuple[str, ...], silence: float, tmp_path: Path
) -> None:
    steps = {kind: 6 + 4 * place for place, kind in enumerate(kinds)}
    faulty = (f"{kind}:1:{at}:once" for kind, at in steps.items())
    code, error = finish(begin(tmp_path, *faulty, steps=32, silence=silence))
    assert code == 0, error
    rows = table(tmp_path)
    assert [(row["kind"], row["step"], row["resumes_at"]) for row in rows] == [
        (faults.CAUSES[kind][0], at, at - 2) for kind, at in steps.items()
    ], error
    for row in rows:
        assert row["rank"] == 1, error
        assert row["restarted"]
        assert row["left"] == 2  # each of them had saved something since the one before
        assert f"rank 1 on {row['host']} {row['cause']}; starting again from the checkpoint of step" in error
        assert {path.name for path in Path(row["kept"]).iterdir()} == {"cause.txt", "rank-0.txt", "rank-1.txt"}
    assert error.count("Traceback") == kinds.count("exception") + kinds.count("memory")


def test_a_failure_that_is_written_down_while_the_hang_is_looked_at_is_the_cause(tmp_path: Path) -> None:
    code, error = finish(begin(tmp_path, "late:1:6:once"))
    assert code == 0, error
    (row,) = table(tmp_path)
    assert (row["kind"], row["rank"], row["step"]) == ("exception", 1, 6), error


@pytest.mark.parametrize(
    ("faulty", "expected", "rows", "said"),
    [
        (("mistake:1:6:always", "mistake:0:6:always"), 2, 0, "error: x.y is 3; set it to 4"),
        (("exception:1:6:always",), 1, 2, "it has failed twice in a row in step 6 in the same way"),
        (("segfault:1:1:once",), 139, 1, "the first attempt did not complete a step"),
    ],
    ids=["mistake", "bug", "start"],
)
def test_what_a_restart_does_not_mend_ends_the_run(
    tmp_path: Path, faulty: tuple[str, ...], expected: int, rows: int, said: str
) -> None:
    code, error = finish(begin(tmp_path, *faulty))
    assert code == expected, error
    assert error.count(said) == 1
    assert ("Traceback" in error) == ("Runtime" in error)
    assert not rows or [row["restarted"] for row in table(tmp_path)] == [True] * (rows - 1) + [False]


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)]
)
def test_a_signal_is_passed_on_and_the_save_awaited(tmp_path: Path, number: signal.Signals, expected: int) -> None:
    process = begin(tmp_path, steps=100_000)
    wait_for(tmp_path / "checkpoints" / f"{8:012d}-{8:08d}")
    process.send_signal(number)
    code, error = finish(process)
    assert code == expected, error
    assert not (tmp_path / "restarts.jsonl").exists()


def test_a_second_ctrl_c_ends_all_at_once(tmp_path: Path) -> None:
    process = begin(tmp_path, "deaf", steps=100_000)
    wait_for(tmp_path / "checkpoints" / f"{8:012d}-{8:08d}")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # is passed on once, and waited for
    wait_for(tmp_path / "checkpoints" / f"{80:012d}-{80:08d}")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    code, error = finish(process)
    assert code == 130, error
    assert error.splitlines()[-1] == "interrupted"


def test_a_signal_to_one_rank_is_no_crash(tmp_path: Path) -> None:
    code, error = finish(begin(tmp_path, "term:1:6:once", "term:0:7:once"))
    assert code == 75, error
    assert not (tmp_path / "restarts.jsonl").exists()


def test_a_port_that_another_process_took_is_not_counted(tmp_path: Path) -> None:
    code, error = finish(begin(tmp_path, "port:0:1:once", restarts=0))
    assert code == 0, error
    assert error.count("rank 0 begins at 0") == 2
    assert not (tmp_path / "restarts.jsonl").exists()


def test_a_killed_parent_leaves_no_rank_and_the_next_one_clears_up(tmp_path: Path) -> None:
    process = begin(tmp_path, steps=100_000)
    wait_for(tmp_path / "checkpoints" / f"{8:012d}-{8:08d}")
    ranks = wait_for_ranks(tmp_path)
    assert len(ranks) == 2
    process.kill()
    process.communicate(timeout=20)
    until = time.monotonic() + 20
    while any(Path(f"/proc/{rank}").exists() for rank in ranks) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


def test_a_rank_that_failed_may_let_its_save_end(tmp_path: Path) -> None:
    code, error = finish(begin(tmp_path, "saving:0:6:always", ranks=1))
    assert (code, error.count("error: x.y is 3; set it to 4")) == (2, 1), error
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("kind", ["exception", "kill", "hang", "stop"])
def test_the_parents_of_a_job_end_all_ranks_together_and_write_down_why(tmp_path: Path, kind: str) -> None:
    codes = [finish(process)[0] for process in [task(tmp_path, rank, f"{kind}:1:6:always") for rank in range(2)]]
    other, own = endings(tmp_path)
    assert (other.node, own.node) == ("node0", "node1")
    assert own.cause is not None
    assert (own.cause.kind, own.cause.name) == faults.CAUSES[kind]
    assert own.cause.beat.step == 6
    assert own.restarts == 3
    assert codes[1] == own.cause.code
    assert codes[0] != 0
    assert other.cause is None or other.cause.kind in {"consequence", "stuck"}
    assert other.ended is not None
    assert not (tmp_path / "restarts.jsonl").exists()  # whoever settles the job writes it
    assert "RuntimeError: boom" in (tmp_path / "7-0" / "rank-1.txt").read_text() or kind != "exception"


def test_a_file_stops_the_ranks_of_a_job_as_a_signal_does(tmp_path: Path) -> None:
    processes = [task(tmp_path, rank, steps=100_000) for rank in range(2)]
    wait_for(tmp_path / "checkpoints" / f"{8:012d}-{8:08d}")
    assert [item.ended for item in endings(tmp_path)] == [None, None]
    (tmp_path / "stop").touch()
    codes = [finish(process)[0] for process in processes]
    assert 75 in codes
    assert set(codes) <= {75, 1}  # these ranks do not agree on a step: one may find the other gone
    found = cause.first([item.cause for item in endings(tmp_path) if item.cause])
    assert found is not None
    assert (found.kind, found.code) == ("stop", 75)


def test_a_later_start_of_the_job_ends_the_ranks_of_this_one(tmp_path: Path) -> None:
    process = task(tmp_path, 0, steps=100_000)
    wait_for(tmp_path / "7-0" / "rank-0.json")
    for other in ("7-x", "8-1", "77-3"):
        (tmp_path / other).mkdir()
    (rank,) = wait_for_ranks(tmp_path)
    (tmp_path / "7-1").mkdir()
    code, error = finish(process)
    assert code == 1
    assert error.splitlines()[-1] == "7-1 is a later start of this job; this one has ended"
    assert not Path(f"/proc/{rank}").exists()
    assert [path.name for path in (tmp_path / "7-0").iterdir()] == ["rank-0.json"]
    assert shared.read(tmp_path / "7-0" / "rank-0.json").ended is None  # lost, as for SLURM


def test_lines_of_other_ranks_than_the_first_have_its_number(tmp_path: Path) -> None:
    said = [finish(process)[1] for process in [task(tmp_path, rank) for rank in range(2)]]
    assert said[0].splitlines()[0] == "rank 0 begins at 0", said
    assert said[1].splitlines()[0] == "[rank 1] rank 1 begins at 0", said


def test_a_signal_that_came_while_python_imported_stops_the_ranks(tmp_path: Path) -> None:
    early = PARENT.replace(
        "code = supervise", "from dit_video.signals import LISTENER; LISTENER.code = 75\ncode = supervise"
    )
    command = [sys.executable, "-c", early, *map(str, (tmp_path, 2, 3, 2.0, 100_000, 4))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 75, done.stderr
