"""Folders of runs as train.py leaves them, made in a moment: ten steps of four samples."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dit_video.runs import sign
from dit_video.runs.sign import End, How, Sign

HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); input()"
)


def sign_of(**more: Any) -> Sign:
    """What a run says after ten steps of twenty."""
    plain = Sign(
        name="a",
        kind="dit",
        samples=80,
        host=socket.gethostname(),
        process=os.getpid(),
        parent=None,
        ranks=2,
        job=None,
        nodes=None,
        command="python train.py experiment=a",
        folder=str(Path.cwd()),
        began=time.time() - 100,
        resumed=0,
        step=10,
        samples_seen=40,
        stepped=time.time() - 1,
    )
    return replace(plain, **more)


def made(
    folder: Path,
    *,
    how: How | None = None,
    text: str = "",
    rows: int = 10,
    saved: int = 0,
    more: dict[str, Any] | None = None,
    signed: bool = True,
) -> Path:
    """A run that ended as `how` says, with so many `rows`, a checkpoint at step `saved`, and `more` in its sign."""
    folder.mkdir(parents=True, exist_ok=True)
    own = sign_of(**(more or {}))
    (folder / ".lock").write_text(f"process {own.process} on {own.host}\n")
    if signed:
        end = None if how is None else End(how=how, time=own.began + 50, text=text)
        sign.write(folder, replace(own, ended=end))
    if rows:
        lines = [f"{step},{4 * step},{8.0 / step},100.0,2.0" for step in range(1, rows + 1)]
        table = "\n".join(["step,samples_seen,loss,tokens_per_second,seconds", *lines]) + "\n"
        (folder / "metrics.csv").write_text(table)
    if saved:
        path = folder / "checkpoints" / f"{4 * saved:012d}-{saved:08d}"
        path.mkdir(parents=True)
        (path / "manifest.json").write_text("{}")
    return folder


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Holds the lock of a run in a process of its own, while a block runs."""
    command = [sys.executable, "-c", HOLD, str(folder / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def failed(folder: Path, *, restarted: bool, at: float | None = None, **more: Any) -> None:
    """Append a failure to a run's table, as its parent does."""
    row = {"time": "now", "detected": at or time.time(), "rank": 1, "host": "node1", "step": 5, "resumes_at": 4}
    row |= {"cause": "failed in step 5: ValueError: no", "restarted": restarted, **more}
    with (folder / "restarts.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def age(folder: Path, seconds: float) -> None:
    """Let nothing in a run's folder have been written for so long."""
    for path in (folder / name for name in ("state.json", "metrics.csv", ".lock", "restarts.jsonl")):
        if path.exists():
            os.utime(path, (time.time() - seconds,) * 2)
