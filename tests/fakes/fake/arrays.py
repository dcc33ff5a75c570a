"""Stages of preparing that are submitted to a SLURM as a user does it: what runs, what is killed, what comes out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from fake.cluster import Cluster

ROOT = Path(__file__).resolve().parents[3]
BESIDE = {"slurm"}  # folders of a dataset that say how it was made, not what it is


def prepare(*arguments: str, environment: dict[str, str] | None = None, seconds: float = 120.0) -> str:
    """What `python -m datamodules.prepare` says; AssertionError where it fails."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    command = [sys.executable, "-m", "datamodules.prepare", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=given, text=True, capture_output=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done.stdout


def job_of(said: str) -> str:
    """The number of the job that a command said it has submitted."""
    found = re.match(r"job (\d+): ", said)
    assert found is not None, said
    return found[1]


def task(cluster: Cluster, job: str, element: int, *, seconds: float = 120.0) -> int:
    """The process that srun has started for an element that runs; waits for it."""
    wanted = {f"SLURM_ARRAY_JOB_ID={job}".encode(), f"SLURM_ARRAY_TASK_ID={element}".encode(), b"SLURM_PROCID=0"}
    found: list[int] = []

    def there() -> bool:
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                about = set((path / "environ").read_bytes().split(b"\0"))
                if wanted <= about and b"datamodules.prepare" in (path / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return bool(found)

    cluster.until(there, seconds, what=f"a task of {job}_{element}", job=job)
    return min(found)


def watch(cluster: Cluster, job: str, *, seconds: float) -> int:
    """Wait for the end of all elements; the most of them that ran at once."""
    most, end = 0, time.monotonic() + seconds
    over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
    while True:
        text = cluster.client("scontrol", "show", "job", "--oneliner", job)
        states = re.findall(r"JobState=(\w+)", text)
        most = max(most, states.count("RUNNING"))
        if set(states) <= over:
            return most
        assert time.monotonic() < end, f"{states}\n{cluster.tell(job)}"
        time.sleep(0.2)


def differences(one: Path, other: Path) -> list[str]:
    """Files of two datasets that differ: by a byte, and tables of captions by anything but when they were written."""
    names = {path.relative_to(root) for root in (one, other) for path in root.rglob("*") if path.is_file()}
    found = [name for name in names if name.parts[0] not in BESIDE]
    return sorted(str(name) for name in found if content(one / name) != content(other / name))


def content(path: Path) -> Any:
    """What a file is compared by; None where there is none."""
    if not path.is_file():
        return None
    if path.parts[-3] != "captions":
        return path.read_bytes()
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return table.drop_columns("created").to_pylist(), table.schema
