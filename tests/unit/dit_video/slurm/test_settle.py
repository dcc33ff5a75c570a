"""What follows a start of a job: by the causes of its ranks, by the budget, and by what happened on the same node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.cluster import Cluster

from dit_video.launch.cause import Cause, Kind
from dit_video.launch.heartbeat import Beat
from dit_video.launch.shared import Ending, Shared
from dit_video.slurm import attempt, script, settle
from dit_video.slurm.attempt import Attempt
from dit_video.slurm.settle import Verdict

ROOT = Path(__file__).resolve().parents[4]
LIGHT = ROOT / "tests" / "fakes" / "fake" / "light.py"


def start(
    run: Path, number: int, kind: Kind | None, *, step: int = 7, rank: int = 1, restarts: int = 3, **more: Any
) -> Attempt:
    """Start `number` of job 41 on node1 and node2: rank `rank` ended of `kind`, which left the other in the lurch."""
    beat = Beat(10, 20, "step", step, max(step - 1, 0))

    def ending(number: int, kind: Kind) -> Ending:
        found = Cause(
            rank=number,
            kind=kind,
            name=more.get("name", kind),
            text=more.get("text", f"is {kind}"),
            code=more.get("code", 1),
            time=5.0,
            beat=beat,
        )
        node = f"node{number + 1}"
        return Ending(rank=number, size=2, node=node, restarts=restarts, began=1.0, ended=9.0, cause=found, beat=beat)

    folder = run / "slurm" / "attempts" / f"41-{number}"
    other: Kind = kind if kind in {"done", "stop"} else "consequence"
    own = [ending(rank, kind)] if kind else []
    Shared(attempt=folder).write([*own, ending(1 - rank, other)])
    return attempt.read(folder)


def parent(folder: Path) -> str:
    """The parent of ranks without torch, as Python that takes what they are to fail of."""
    return (
        "import sys; from pathlib import Path; from dit_video import launch; from dit_video.config import Run\n"
        f"run = Run(name='a', dir={str(folder)!r}, seed=0, samples=1, every_samples=1, silence=6.0)\n"
        "job = launch.job(run, trainer={'accelerator': 'cpu'}, patience=0.0)\n"
        f"command = [sys.executable, {str(LIGHT)!r}, {str(folder)!r}, '60', '4', *sys.argv[1:]]\n"
        "raise SystemExit(launch.supervise(job, command=command, files={}))\n"
    )


def settled(found: Attempt, run: Path, *, code: int = 1, **job: str) -> Verdict:
    """The verdict of it."""
    return settle.settle(found, run=run, code=code, job=job)


def rows(run: Path) -> list[dict[str, Any]]:
    """The table of the run."""
    return [json.loads(line) for line in (run / "restarts.jsonl").read_text(encoding="utf-8").splitlines()]


def save(run: Path, step: int) -> None:
    """A checkpoint, as far as its name tells."""
    (run / "checkpoints" / f"{2 * step:012d}-{step:08d}").mkdir(parents=True)


@pytest.mark.parametrize(
    ("kind", "code", "line"),
    [
        ("done", 0, "exit 0 0"),
        ("mistake", 2, "exit 2 0"),
        ("stop", 75, "requeue 75 0"),
        ("stop", 130, "exit 130 0"),
        ("exception", 1, "requeue 1 0"),
        ("signal", 137, "requeue 137 0"),
        ("node", 76, "requeue 76 0 node2"),
        ("frozen", 1, "requeue 1 0 node2"),
        ("stuck", 1, "requeue 1 0"),
    ],
)
def test_what_the_script_is_told(tmp_path: Path, kind: Kind, code: int, line: str) -> None:
    verdict = settled(start(tmp_path, 0, kind, code=code), tmp_path, code=code)
    assert verdict.text.splitlines()[0] == line
    assert (tmp_path / "restarts.jsonl").exists() == (kind not in {"done", "mistake", "stop"})


def test_restarts_are_counted_over_the_starts_of_a_job_and_anew_after_a_save(tmp_path: Path) -> None:
    seconds = []
    for number in range(7):
        if number == 3:
            save(tmp_path, 8)
        verdict = settled(start(tmp_path, number, "signal", step=7 + number), tmp_path)
        seconds.append((verdict.then, verdict.seconds))
    assert seconds == [("requeue", 0), ("requeue", 30), ("requeue", 60)] * 2 + [("exit", 0)]
    assert "run.restarts=3" in verdict.why
    assert [row["left"] for row in rows(tmp_path)] == [2, 1, 0, 2, 1, 0, 0]
    other = start(tmp_path, 0, "signal", step=30)
    moved = tmp_path / "slurm" / "attempts" / "42-0"
    other.folder.rename(moved)
    assert settled(attempt.read(moved), tmp_path).then == "requeue"  # another job, another budget


def test_the_same_failure_twice_in_a_row_in_the_same_step_ends_the_job(tmp_path: Path) -> None:
    save(tmp_path, 4)
    assert settled(start(tmp_path, 0, "exception", name="KeyError"), tmp_path).then == "requeue"
    verdict = settled(start(tmp_path, 1, "exception", name="KeyError"), tmp_path)
    assert (verdict.then, verdict.code) == ("exit", 1)
    assert "rank 1 on node2 is exception; not started again: it has failed twice in a row in step 7" in verdict.why
    assert [row["restarted"] for row in rows(tmp_path)] == [True, False]


def test_a_start_that_slurm_took_back_between_them_is_not_counted(tmp_path: Path) -> None:
    for number in (0, 2, 4):
        found = start(tmp_path, number, "signal", step=7 + number, restarts=3)
        attempt.look_back(run=tmp_path, environment={"DIT_VIDEO_ATTEMPT": str(found.folder)})
        assert settled(found, tmp_path).then == "requeue"
        start(tmp_path, number + 1, None)
    assert [row["kind"] for row in rows(tmp_path)].count("requeued") == 2


def test_starts_that_are_stopped_before_a_step_end_the_job(tmp_path: Path) -> None:
    found = [settled(start(tmp_path, number, "stop", step=0, code=75), tmp_path) for number in range(attempt.IDLE)]
    assert [(item.then, item.code) for item in found] == [("requeue", 75)] * (attempt.IDLE - 1) + [("exit", 2)]
    assert "run.submit.time" in found[-1].why
    save(tmp_path, 4)
    assert settled(start(tmp_path, attempt.IDLE, "stop", step=0, code=75), tmp_path).then == "requeue"


def test_a_real_start_that_is_stopped_early_counts_as_one_without_a_step(tmp_path: Path) -> None:
    last = tmp_path / "slurm" / "attempts" / f"41-{attempt.IDLE - 1}"
    environment = {**os.environ, "DIT_VIDEO_ATTEMPT": str(last)}
    command = [sys.executable, "-c", parent(tmp_path), "early"]
    assert subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=60).returncode == 75
    verdicts = []
    for number in range(attempt.IDLE - 1):
        verdicts.append(settled(attempt.read(last), tmp_path, code=75))
        shutil.copytree(last, last.with_name(f"41-{number}"))
    assert {item.then for item in verdicts} == {"requeue"}
    verdict = settled(attempt.read(last), tmp_path, code=75)
    assert (verdict.then, verdict.code) == ("exit", 2)


def test_a_start_behind_which_the_job_runs_again_settles_nothing(tmp_path: Path) -> None:
    before = start(tmp_path, 0, "exception")
    start(tmp_path, 1, None)
    assert settled(before, tmp_path).then == "exit"
    assert not (tmp_path / "restarts.jsonl").exists()


def test_a_bug_of_the_first_step_ends_the_job_and_a_lost_node_does_not(tmp_path: Path) -> None:
    bug = settled(start(tmp_path / "a", 0, "exception", step=1), tmp_path / "a")
    lost = settled(start(tmp_path / "b", 0, None, step=1), tmp_path / "b")
    assert (bug.then, lost.then) == ("exit", "requeue")
    assert "the first attempt did not complete a step" in bug.why


def test_a_node_is_excluded_beside_those_that_were_and_the_second_time_for_a_hang(tmp_path: Path) -> None:
    verdict = settled(start(tmp_path / "a", 0, "node", code=76), tmp_path / "a", ExcNodeList="node[7-8]")
    assert verdict.nodes == "node[7-8],node2"
    assert "excluded: node2 (should too few nodes be left, scontrol update JobId=41 ExcNodeList= takes" in verdict.why
    assert rows(tmp_path / "a")[0]["excluded"] == ["node2"]
    nodes = [
        settled(start(tmp_path / "b", number, "stuck", step=7 + number), tmp_path / "b", ExcNodeList="(null)").nodes
        for number in range(2)
    ]
    assert nodes == ["", "node2"]


@pytest.mark.parametrize(
    ("unfit", "nodes", "excluded"), [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 2, 0), (2, 3, 0), (3, 3, 0), (2, 5, 2)]
)
def test_what_most_nodes_say_is_no_fault_of_one(tmp_path: Path, unfit: int, nodes: int, excluded: int) -> None:
    beat = Beat(10, 20, "start", 0, 0)
    text = "{}: a folder has not answered"
    for rank in range(nodes):
        kind: Kind = "node" if rank < unfit else "consequence"
        name = f"node{rank}"
        found = Cause(rank=rank, kind=kind, name=kind, text=text.format(name), code=76, time=5.0 + rank, beat=beat)
        ended = Ending(rank=rank, size=nodes, node=name, restarts=3, began=1.0, ended=9.0, cause=found, beat=beat)
        Shared(attempt=tmp_path / "41-0").write([ended])
    verdict = settled(attempt.read(tmp_path / "41-0"), tmp_path, code=76)
    assert (verdict.then, verdict.nodes) == ("requeue", ",".join(f"node{rank}" for rank in range(excluded)))
    assert (f"so say {unfit} of {nodes} nodes" in verdict.why) == (unfit > 1)
    assert len(rows(tmp_path)[0]["excluded"]) == excluded


def test_a_job_that_may_not_be_requeued_is_not(tmp_path: Path) -> None:
    stop = settled(start(tmp_path / "a", 0, "stop", code=75), tmp_path / "a", Requeue="0")
    crash = settled(start(tmp_path / "b", 0, "signal", code=137), tmp_path / "b", Requeue="0")
    assert [(item.then, item.code) for item in (stop, crash)] == [("exit", 75), ("exit", 137)]


@pytest.mark.parametrize(
    ("code", "expected"), [(0, "exit 0"), (2, "exit 2"), (1, "exit 1"), (138, "requeue 75"), (143, "requeue 75")]
)
def test_a_step_of_which_no_rank_has_written(tmp_path: Path, code: int, expected: str) -> None:
    verdict = settled(Attempt(tmp_path / "41-0", ()), tmp_path, code=code)
    assert f"{verdict.then} {verdict.code}" == expected


def test_the_command_leaves_the_verdict_and_one_line_and_needs_no_torch(tmp_path: Path) -> None:
    found = start(tmp_path, 0, "signal", code=137)
    code = (
        "import sys; from dit_video.slurm import settle; settle.main(sys.argv[1:])\n"
        "assert not {'torch', 'lightning', 'hydra'} & set(sys.modules)"
    )
    given = ["--run", str(tmp_path), "--code", "137", "--job", "JobId=41 JobState=RUNNING Requeue=1 ExcNodeList=(null)"]
    environment = {**os.environ, "DIT_VIDEO_ATTEMPT": str(found.folder)}
    done = subprocess.run(
        [sys.executable, "-c", code, *given], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (found.folder / "verdict").read_text().splitlines()[0] == "requeue 137 0"
    (line,) = done.stdout.splitlines()
    assert line.startswith(
        "== rank 1 on node2 is signal; the job goes back into the queue, to start again from the start"
    )


def test_a_port_that_another_process_took_ends_no_job(tmp_path: Path) -> None:
    found = start(tmp_path, 0, "exception", step=0, text="EADDRINUSE")
    assert settled(found, tmp_path).then == "requeue"


def test_a_job_on_a_cluster_leaves_a_bad_node_and_ends_by_its_bug(slurm: Cluster, tmp_path: Path) -> None:
    """Ranks without torch, on the real SLURM by the real script: one is stopped once; an exception comes each time."""
    faulty = ("stop:1:10:once", "exception:0:30:always")
    values = {
        "title": "a",
        "options": "#SBATCH --nodes=2 --requeue --open-mode=append",
        "setup": "",
        "run": str(tmp_path),
        "wait": "60",
        "tasks": "1",
        "srun": "",
        "python": sys.executable,
        "command": script.command(["-c", parent(tmp_path), *faulty]),
    }
    job = slurm.submit(f"--chdir={ROOT}", script=script.fill("train", values))
    assert slurm.wait(job, 240) == "FAILED", slurm.tell(job)
    assert slurm.job(job)["ExitCode"] == "1:0"
    found = rows(tmp_path)
    assert [(row["kind"], row["start"], row["restarted"]) for row in found] == [
        ("stopped", 0, True),
        ("exception", 1, True),
        ("exception", 2, False),
    ], slurm.tell(job)
    (bad,) = found[0]["excluded"]
    assert found[0]["host"] == bad
    assert all(bad not in row["nodes"] for row in found[1:])
    assert slurm.job(job)["ExcNodeList"] == bad
