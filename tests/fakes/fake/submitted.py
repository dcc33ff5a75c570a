"""A training that is submitted to a SLURM as a user does it, and watched from outside: `train.py run.submit=slurm`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake import keeper, kills
from fake.cluster import OVER, Cluster

ENTRY = Path(__file__).resolve().parents[1] / "train.py"
PACE, CLOCK = "pace", "clock.jsonl"
TINY = (
    "tasks._target_=fake.task.FakeTask",
    "tasks.optim=${optim}",
    "datamodules._target_=fake.datamodule.FakeData",
    "optim.schedule.warmup=4",
    "run.name=a",
    "logger=csv",
)
WATCHED = (
    f"callbacks.record={{_target_: fake.record.Record, path: {kills.SEEN}}}",
    f"callbacks.clock={{_target_: fake.clock.Clock, path: {CLOCK}}}",
    f"callbacks.pace={{_target_: fake.pace.Pace, path: {PACE}}}",
)


@dataclass(frozen=True)
class Look:
    """What SLURM said of a job from `time` on, in seconds since 1970."""

    time: float
    state: str
    restarts: int
    nodes: str


@dataclass(frozen=True)
class Times:
    """Seconds from a fault until the job no longer runs, waits again, runs again, and has completed a step."""

    detected: float
    requeued: float
    restarted: float
    stepped: float


@dataclass
class Submitted:
    """A job that trains the run `a` in `folder`, and the history of it, which another thread writes."""

    cluster: Cluster
    folder: Path
    job: str
    said: str  # by the command that submitted it
    history: list[Look] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder / kills.RUN

    def steps(self) -> list[tuple[int, float]]:
        """Steps that were completed, from 0, and when, in the order in which that was."""
        path = self.folder / CLOCK
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        spans = [json.loads(line) for line in lines if line.endswith("}")]
        return [(span["step"], span["to"]) for span in spans if span["what"] == "step"]

    def pace(self, seconds: float) -> None:
        """How long every step sleeps from now on."""
        (self.folder / PACE).write_text(str(seconds), encoding="utf-8")

    def restarts(self) -> list[dict[str, Any]]:
        """The rows of the run's table of restarts."""
        path = self.run / "restarts.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def trained(self, count: int, *, since: float = 0.0, seconds: float = 300.0) -> None:
        """Wait until so many steps have been completed after a time."""

        def enough() -> bool:
            assert not self.over, self.cluster.tell(self.job)
            return sum(at > since for _, at in self.steps()) >= count

        self.cluster.until(enough, seconds, what=f"{count} steps", job=self.job)

    def nodes(self) -> list[int]:
        """The numbers of the nodes it has had last."""
        names = self.cluster.client("scontrol", "show", "hostnames", self.history[-1].nodes).split()
        return [int(name.removeprefix("node")) for name in names]

    def rank(self) -> int:
        """A process on its last node that trains."""
        found = keeper.processes(self.cluster.conf, node=f"node{self.nodes()[-1]}")
        return next(number for number in found if b"DIT_VIDEO_WATCH=" in Path(f"/proc/{number}/environ").read_bytes())

    def task(self) -> int:
        """The one that srun has started there, which watches it."""
        return int(Path(f"/proc/{self.rank()}/stat").read_bytes().rpartition(b")")[2].split()[1])

    @property
    def over(self) -> bool:
        """Whether the job has ended for good."""
        return bool(self.history) and self.history[-1].state in OVER

    def restarted(self, times: int, *, seconds: float = 300.0) -> None:
        """Wait until it has been started again so many times, and runs."""

        def again() -> bool:
            assert not self.over, self.cluster.tell(self.job)
            return any(look.restarts >= times and look.state == "RUNNING" for look in self.history)

        self.cluster.until(again, seconds, what=f"restart {times}", job=self.job)

    def times(self, fault: float) -> Times:
        """What followed a fault, all of it in the past."""
        after = [look for look in self.history if look.time > fault]
        left = next(look for look in after if look.state != "RUNNING")
        waits = next(look for look in after if look.state in {"PENDING", "REQUEUED"})
        runs = next(look for look in after if look.time > waits.time and look.state == "RUNNING")
        stepped = next(at for _, at in self.steps() if at > runs.time)
        return Times(*(at - fault for at in (left.time, waits.time, runs.time, stepped)))

    def finish(self, *, state: str = "COMPLETED", seconds: float = 600.0) -> None:
        """Wait for the end; AssertionError where it is another state."""
        found = self.cluster.wait(self.job, seconds)
        assert found == state, f"{found}\n{self.cluster.tell(self.job)}"


def submit(folder: Path, arguments: Sequence[str], *, entry: Path = ENTRY) -> subprocess.CompletedProcess[str]:
    """The user's command in `folder`; what it does takes seconds, as it has no torch."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(entry), *arguments, "run.submit=slurm"]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, timeout=60, check=False)


@contextmanager
def submitted(
    cluster: Cluster, folder: Path, arguments: Sequence[str], *, pace: float = 0.0, entry: Path = ENTRY
) -> Iterator[Submitted]:
    """Within the block the job is watched; it is cancelled in the end, if it is not over."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PACE).write_text(str(pace), encoding="utf-8")
    done = submit(folder, [*arguments, *WATCHED], entry=entry)
    assert done.returncode == 0, done.stderr
    rows = (folder / kills.RUN / "slurm" / "jobs.jsonl").read_text(encoding="utf-8").splitlines()
    found = Submitted(cluster, folder, str(json.loads(rows[-1])["job"]), done.stdout + done.stderr)
    end = threading.Event()
    watcher = threading.Thread(target=watch, args=(found, end), daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        end.set()
        watcher.join()
        if not set(cluster.states(found.job)) <= OVER:
            cluster.client("scancel", found.job)


def watch(found: Submitted, end: threading.Event) -> None:
    """Write down every change of the job."""
    while not end.wait(0.1):
        try:
            about = found.cluster.job(found.job)
        except (AssertionError, subprocess.TimeoutExpired):  # a controller that is busy
            continue
        look = Look(time.time(), about["JobState"], int(about["Restarts"]), about.get("NodeList", ""))
        if not found.history or (look.state, look.restarts, look.nodes) != (
            found.history[-1].state,
            found.history[-1].restarts,
            found.history[-1].nodes,
        ):
            found.history.append(look)
