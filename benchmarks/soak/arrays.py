"""Stages of preparing as job arrays under a real SLURM, killed in every way; in the end what one machine makes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake import arrays, saved
from fake.cluster import Cluster

from dit_video import log
from dit_video.slurm import array, client
from dit_video.slurm.settings import Slurm

SHARDS, FILES = 40, 3  # files a shard
CONCURRENT = 4
BATCH = "batch=2"  # of an element that has a few clips of each size, most of a larger batch would be copies
SIZES = "sizes=[1x32x32,1x32x48,1x48x32,9x32x32,9x32x48,9x48x32]"
SUBMIT = ("run.submit=slurm", f"run.submit.concurrent={CONCURRENT}")
SLEEP = """
import os, time
time.sleep(0 if int(os.environ.get("SLURM_RESTART_COUNT", 0)) else 300)
"""
KILLED = (3, 6)  # elements: of one the task, of the other all of it


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step: its arguments, its folder in a dataset, shards a task, and whether a killed task begins again."""

    name: str
    arguments: tuple[str, ...]
    folder: str
    each: int
    again: bool

    def standing(self, dataset: Path) -> dict[int, int]:
        """When each shard was finished, in nanoseconds."""
        return {int(path.stem): path.stat().st_mtime_ns for path in (dataset / self.folder).glob("[0-9]*.parquet")}


def measure(folder: Path) -> dict[str, Any]:
    """Three steps of `SHARDS` shards, each with two elements killed; held against one process that made all."""
    shutil.rmtree(folder, ignore_errors=True)
    raw, one, many = folder / "raw", folder / "one", folder / "many"
    write_corpus(raw)
    vae, words = saved.vae(folder / "vae"), saved.recaptioner(folder / "words")
    curate = (f"source={raw}", f"shard_samples={FILES}", "workers=1")
    steps = [
        Step(name="curate", arguments=curate, folder="index", each=1, again=False),
        Step(name="recaption", arguments=(f"recaptioner={words}", BATCH), folder="captions/dense", each=2, again=True),
        Step(name="encode", arguments=(f"vae={vae}", SIZES, "fps=8", BATCH), folder="latents/vae", each=2, again=False),
    ]
    figures: dict[str, Any] = {}
    with Cluster(folder / "cluster", nodes=3, cpus=4) as cluster:
        for step in steps:
            began = time.monotonic()
            arrays.prepare(f"step={step.name}", f"dataset={one}", *step.arguments, seconds=600)
            alone = time.monotonic() - began
            figures[step.name] = trial(cluster, step, many) | {"one_machine_s": round(alone, 1)}
            log.say(f"arrays: {step.name}: {figures[step.name]}")
        figures["ends"] = ends(cluster, folder / "ends")
    differ = arrays.differences(one, many)
    right = sum(found["right"] for found in figures.values()) * (not differ)
    files = sum(path.is_file() for path in one.rglob("*"))
    return {"tried": len(figures), "right": right, "files": files, "files_that_differ": differ, **figures}


def trial(cluster: Cluster, step: Step, dataset: Path) -> dict[str, Any]:
    """Submit, kill two elements, submit again until nothing is missing; each time only what is missing is made."""
    requeues = 5 if step.again else 0
    more = (*SUBMIT, f"run.submit.shards_per_task={step.each}", f"run.submit.requeues={requeues}")
    command = (f"step={step.name}", f"dataset={dataset}", *step.arguments, *more)
    began, elements = time.monotonic(), SHARDS // step.each
    job = arrays.job_of(arrays.prepare(*command))
    busy = arrays.prepare(*command)
    assert "nothing is submitted" in busy, busy
    os.kill(arrays.task(cluster, job, KILLED[0]), signal.SIGKILL)
    arrays.task(cluster, job, KILLED[1])
    cluster.client("scancel", "--full", "--signal=KILL", f"{job}_{KILLED[1]}")
    most = arrays.watch(cluster, job, seconds=1800)
    lost = [shard for element in KILLED for shard in range(element, SHARDS, elements)]
    before = step.standing(dataset)
    missing = sorted(set(range(SHARDS)) - set(before))
    assert set(missing) <= set(lost), f"{missing} are missing, {lost} were lost"
    assert not step.again or not any(shard % elements == KILLED[0] for shard in missing), "it begins again by itself"
    said = arrays.prepare(*command)
    wanted = sorted({shard % elements for shard in missing})
    if missing:
        arrays.watch(cluster, arrays.job_of(said), seconds=600)
        rows = (dataset / "slurm" / where(dataset, step) / "jobs.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(rows[-1])["elements"] == ",".join(map(str, wanted)), rows[-1]
        said = arrays.prepare(*command)
    after = step.standing(dataset)
    assert "nothing is submitted" in said, said
    assert set(after) == set(range(SHARDS)), sorted(after)
    assert all(after[shard] == at for shard, at in before.items()), "a shard that stood was made again"
    assert most <= CONCURRENT, most
    right = {"right": 1, "elements": elements, "most_at_once": most, "missing_after": len(missing)}
    return right | {"submitted_again": len(wanted), "wall_s": round(time.monotonic() - began, 1)}


def ends(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Elements that reach their time limit, lose their node or are preempted begin again; cancelled ones do not."""
    folder.mkdir(parents=True)
    (folder / "sleep.py").write_text(SLEEP, encoding="utf-8")

    def begun(name: str, **slurm: Any) -> str:
        told = Slurm(python=sys.executable, **slurm)
        stage = array.Stage(
            name=name,
            dataset=folder,
            command=(str(folder / "sleep.py"),),
            shards=2,
            missing=(0, 1),
            ended=True,
            parted=True,
            mounts=(),
            slurm=told,
        )
        job = array.submit(stage, [0, 1], parts=2)
        for element in (0, 1):
            cluster.until(lambda: cluster.job(f"{job}_{element}")["JobState"] == "RUNNING", 60, job=job)  # noqa: B023
        return job

    jobs = {"limit": begun("limit", time="1", grace=10, exclude="node2,node3"), "node": begun("node", exclude="node1")}
    cluster.kill_node(int(cluster.job(f"{jobs['node']}_0")["NodeList"].removeprefix("node")))
    jobs["cancelled"] = begun("cancelled", exclude="node2,node3")
    client.cancel(jobs["cancelled"])
    for name in ("cancelled", "limit", "node"):
        arrays.watch(cluster, jobs[name], seconds=240)
    jobs["preempted"] = begun("preempted", exclude="node2,node3")
    cluster.submit("-p", "high", "-w", "node1", "--exclusive", script="sleep 5")
    arrays.watch(cluster, jobs["preempted"], seconds=240)
    found = {name: [(each.state, each.restarts) for each in client.jobs([job])] for name, job in jobs.items()}
    wanted = {name: [("CANCELLED", 0) if name == "cancelled" else ("COMPLETED", 1)] * 2 for name in jobs}
    assert found == wanted, found
    return {"right": 1, "tried": list(found)}


def where(dataset: Path, step: Step) -> str:
    """The folder of the step's scripts in DATASET/slurm."""
    return next(path.name for path in (dataset / "slurm").iterdir() if path.name.startswith(step.name))


def write_corpus(folder: Path) -> None:
    """Files for all shards: five clips to a still."""
    command: Sequence[str] = (sys.executable, "-m", "datamodules.shapes", f"out={folder}", "videos=100", "images=20")
    subprocess.run(command, cwd=arrays.ROOT, capture_output=True, check=True)
