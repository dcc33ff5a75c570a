"""Trainings under a real SLURM of several nodes, submitted as a user does it, and every fault that a job may meet.

A trial is one job, to which a fault happens several times; in the end it must be, to the bit, the run that this machine
makes without SLURM. Then what each fault cost: until the job no longer runs, waits again, runs again, has made a step.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from fake import forked, kills
from fake.cluster import Cluster
from fake.submitted import TINY, WATCHED, Submitted, Times, submitted

from benchmarks.soak import arrays, corpus, worlds
from benchmarks.soak.measure import spread
from dit_video import log

TIMES = 3  # of each fault
STEPS, PACE = 240, 0.3  # of a trial; seconds a step sleeps until all faults have happened
SMALL = (*TINY, f"run.samples={STEPS * 4}", "run.every_samples=16")
NODES = ("trainer=cpu", "trainer.num_nodes=2")
FOUR = ("trainer=cpu2", "trainer.num_nodes=2")
Fault = Callable[[Submitted], None]
Keep = Callable[[dict[str, dict[str, Any]], float], None]  # figures by trial, and minutes


@dataclass(frozen=True)
class Trial:
    """What is tried, as the table names it, about how long it takes, and how it is done: its figures."""

    what: str
    minutes: float
    run: Callable[[Path], dict[str, Any]]


def measure(folder: Path, data: Callable[[], Path], *, only: Sequence[str] = ("",), keep: Keep) -> dict[str, Any]:
    """All trials one after the other, or those with a part of `only` in their names; `keep` takes each as it ends."""
    base = folder / "slurm"
    shutil.rmtree(base, ignore_errors=True)
    oracle = base / "oracle"
    oracle.mkdir(parents=True)
    alone = forked.start(oracle, [*SMALL, "trainer=cpu2", WATCHED[0]], ranks=2)
    assert alone.returncode == 0, alone.stderr
    wanted = [trial for trial in trials(oracle, data) if any(part in trial.what for part in only)]
    for number, trial in enumerate(wanted):
        left = sum(item.minutes for item in wanted[number:])
        log.say(f"slurm: {trial.what} ({number + 1} of {len(wanted)}; about {left:.0f} minutes left)")
        began = time.time()
        try:
            figures = trial.run(base / str(number))
        except (AssertionError, StopIteration, subprocess.TimeoutExpired) as error:
            figures = {"tried": 1, "right": 0, "why": str(error)[-2000:]}
        log.say(f"slurm: {figures}")
        keep({trial.what: figures}, round((time.time() - began) / 60, 1))
    return {}


def trials(oracle: Path, data: Callable[[], Path]) -> list[Trial]:
    """All of them."""

    def same(what: str, minutes: float, fault: Fault, *more: str, warned: bool = True, times: int = TIMES) -> Trial:
        return Trial(what, minutes, lambda folder: faults(folder, oracle, fault, more, warned=warned, times=times))

    return [
        Trial("nothing happens, two nodes of two ranks", 1.5, lambda folder: undisturbed(folder, data())),
        same("told to stop (scancel --signal=USR1)", 1.5, told),
        Trial("time limit", 9.0, lambda folder: limit(folder, oracle)),
        same("preempted by a job of higher priority, warned by USR1", 2.0, preempt),
        same("preempted by a job of higher priority, warned by SIGTERM", 2.0, preempt, warned=False),
        same("SIGKILL to one rank", 2.0, lambda job: os.kill(job.rank(), signal.SIGKILL)),
        same("SIGKILL to one task, which watches a rank", 2.0, lambda job: os.kill(job.task(), signal.SIGKILL)),
        same("SIGKILL to all of a node: another takes over", 4.0, lambda job: lose(job, place=-1)),
        same("SIGKILL to all of the node of the batch script", 4.0, lambda job: lose(job, place=0)),
        same("SIGKILL to all of a node: it comes back", 4.0, lose_and_find, "run.submit.exclude=node3"),
        Trial("SIGKILL to all of a node: one node goes on alone", 2.0, lambda folder: fewer(folder, data())),
        *(
            Trial(what, 2.5, partial(apart, oracle=oracle, place=place))
            for what, place in (("link of a node cut", -1), ("link of the first node cut, that of rank 0", 0))
        ),
        Trial("an exception at step 50, each time", 2.0, bug),
        Trial("arrays over 40 shards (curate, recaption, encode), two elements killed", 8.0, arrays.measure),
    ]


def faults(
    folder: Path,
    oracle: Path,
    fault: Fault,
    more: Sequence[str],
    *,
    warned: bool = True,
    times: int,
    mode: str = "auto",
) -> dict[str, Any]:
    """A job to which a fault happens several times: it starts again each time, and the result is the oracle's."""
    moments = []
    with (
        Cluster(folder / "cluster", nodes=3, warned=warned, mode=mode) as cluster,
        submitted(cluster, folder / "run", [*SMALL, *NODES, *more], pace=PACE) as job,
    ):
        for number in range(times):
            job.restarted(number)
            job.trained(6, since=job.history[-1].time)
            moments.append(time.time())
            fault(job)
        job.restarted(times)
        job.trained(1, since=job.history[-1].time)
        job.pace(0)
        job.finish()
        return judged(job, oracle, [job.times(moment) for moment in moments])


def judged(job: Submitted, oracle: Path, times: Sequence[Times]) -> dict[str, Any]:
    """Figures of a job that has come to its end."""
    differing = list(kills.differences(job.folder, oracle))
    ledger, true = kills.ledger(job.folder), kills.ledger(oracle)
    columns = zip(*(astuple(item) for item in times), strict=True)
    return {
        "tried": len(times),
        "right": 0 if differing else len(times),
        "differing": differing,
        "duplicates": sum((ledger - true).values()),
        "missing": sum((true - ledger).values()),
        "steps_redone": spread(kills.redone(kills.seen(job.folder))),
        "causes": [row["cause"] for row in job.restarts()],
        **{f"{field.name}_s": spread(column) for field, column in zip(fields(Times), columns, strict=True)},
    }


def told(job: Submitted) -> None:
    """What SLURM does before a limit."""
    job.cluster.client("scancel", "--signal=USR1", job.job)


def preempt(job: Submitted) -> None:
    """A job that needs all nodes, for a second."""
    other = job.cluster.submit("-N3", "--exclusive", "-p", "high", script="sleep 1")
    job.cluster.wait(other, 90)


def lose(job: Submitted, *, place: int) -> None:
    """A node of the job dies; it is started again when SLURM has found out."""
    node, restarts = job.nodes()[place], job.history[-1].restarts
    job.cluster.kill_node(node)
    job.restarted(restarts + 1)
    job.cluster.revive(node)


def lose_and_find(job: Submitted) -> None:
    """The second node dies, and is started again when the job waits for it."""
    job.cluster.kill_node(2)
    job.cluster.until(lambda: job.history[-1].state == "PENDING", 120, what="the job waits", job=job.job)
    job.cluster.revive(2)


def apart(folder: Path, *, oracle: Path, place: int) -> dict[str, Any]:
    """The link of a node, whose processes live on, is cut, and whole again when the job has gone on elsewhere."""
    return faults(folder, oracle, lambda job: cut(job, place=place), (), times=1, mode="netns")


def cut(job: Submitted, *, place: int) -> None:
    """Cut the link of one of its nodes, until the job has made a step on others."""
    node = job.nodes()[place]
    job.cluster.cut(node)
    job.restarted(job.history[-1].restarts + 1, seconds=240)
    job.trained(1, since=job.history[-1].time)
    job.cluster.cut(node, whole=True)


def limit(folder: Path, oracle: Path) -> dict[str, Any]:
    """The time limit is reached three times: SLURM looks every 30 s, and warns as much earlier."""
    more = ("run.submit.time=4", "run.submit.grace=100")
    with (
        Cluster(folder / "cluster", nodes=2) as cluster,
        submitted(cluster, folder / "run", [*SMALL, *NODES, *more], pace=3.0) as job,
    ):
        job.restarted(TIMES, seconds=900)
        job.trained(1, since=job.history[-1].time)
        saved = len(list((job.run / "checkpoints").iterdir()))
        job.pace(0)
        job.finish()
        moments = [max(at for _, at in job.steps() if at < after) for after in leaves(job)[:TIMES]]
        return judged(job, oracle, [job.times(moment) for moment in moments]) | {"checkpoints": saved}


def leaves(job: Submitted) -> list[float]:
    """When the job no longer ran, each time."""
    pairs = zip(job.history, job.history[1:], strict=False)
    return [after.time for before, after in pairs if before.state == "RUNNING" != after.state]


def undisturbed(folder: Path, data: Path) -> dict[str, Any]:
    """A DiT on two nodes of two ranks, against the same plan without SLURM."""
    oracle = folder / "oracle"
    given = corpus.arguments(data)
    kills.whole(oracle, [*given, *FOUR], ranks=4)
    with (
        Cluster(folder / "cluster", nodes=2) as cluster,
        submitted(cluster, folder / "run", [*given, *FOUR]) as job,
    ):
        job.finish()
    differing = list(kills.differences(job.folder, oracle))
    curve = kills.curve(oracle)
    return {
        "tried": 1,
        "right": int(not differing),
        "differing": differing,
        "steps": len(curve),
        "loss": [float(curve[0]["loss"]), float(curve[-1]["loss"])],
        "largest_relative_difference_of_loss": worlds.difference(job.folder, oracle),
    }


def fewer(folder: Path, data: Path) -> dict[str, Any]:
    """A DiT on two nodes, one of which dies: it goes on with the other, the samples the same, the loss to rounding."""
    oracle = folder / "oracle"
    given = corpus.arguments(data)
    kills.whole(oracle, [*given, *FOUR], ranks=4)
    with (
        Cluster(folder / "cluster", nodes=2) as cluster,
        submitted(cluster, folder / "run", [*given, *FOUR, "run.submit.min_nodes=1"], pace=PACE) as job,
    ):
        job.trained(12)
        moment = time.time()
        cluster.kill_node(2)
        job.restarted(1)
        job.trained(1, since=job.history[-1].time)
        job.pace(0)
        job.finish()
    same = kills.ledger(job.folder) == kills.ledger(oracle)
    loss = worlds.difference(job.folder, oracle)
    times = {
        f"{name}_s": {"p50": round(value, 2), "max": round(value, 2)} for name, value in vars(job.times(moment)).items()
    }
    return {
        "tried": 1,
        "right": int(same and loss < 1e-5),
        "same_samples": same,
        "largest_relative_difference_of_loss": loss,
        "nodes": [look.nodes for look in job.history if look.state == "RUNNING"],
        "steps_redone": spread(kills.redone(kills.seen(job.folder))),
        **times,
    }


def bug(folder: Path) -> dict[str, Any]:
    """An exception at the same step at each start must end the job, with its reason in `runs status`."""
    crash = "callbacks.crash={_target_: fake.crash.Crash, kind: exception, step: 50, rank: 1, folder: ., always: true}"
    with (
        Cluster(folder / "cluster", nodes=2) as cluster,
        submitted(cluster, folder / "run", [*SMALL, *NODES, crash]) as job,
    ):
        job.finish(state="FAILED")
    began = time.time()
    command = [sys.executable, "-m", "dit_video.runs", "status", str(job.run)]
    shown = subprocess.run(command, text=True, capture_output=True, check=False)
    steps = [row["step"] for row in job.restarts()]
    return {
        "tried": 1,
        "right": int(set(steps) == {50} and "RuntimeError: boom" in shown.stdout),
        "starts": len(steps),
        "status": (shown.stdout + shown.stderr).replace(str(job.run), "RUN"),
        "status_s": round(time.time() - began, 2),
    }
