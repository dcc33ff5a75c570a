"""train.py on two ranks, one of which fails: who is named, why, how soon, and whether the run ends the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from fake import faults, kills

ENTRY = Path(__file__).resolve().parents[1] / "train.py"
ARGUMENTS = (
    "tasks._target_=fake.task.FakeTask",
    "tasks.optim=${optim}",
    "datamodules._target_=fake.datamodule.FakeData",
    "optim.schedule.warmup=4",
    "run.name=a",
    "run.every_samples=8",
    "logger=csv",
    "trainer=cpu2",
)
PER_STEP = 4  # samples
APART = 6  # steps between two failures: something is saved in each interval
SILENCE = 4.0  # seconds


class Crashed(TypedDict):
    """One failure of a rank: seconds until it was told and until a step was completed again, and what was told.

    A hang is told `SILENCE` seconds after it at the soonest. `equal` is whether the whole run, of which it is a part,
    ended like one without failures.
    """

    kind: str
    detected_s: float
    recovered_s: float
    rank_right: bool
    cause_right: bool
    equal: bool


def run(folder: Path, *overrides: str, steps: int = 12, seconds: float = 300.0) -> subprocess.CompletedProcess[str]:
    """The command in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(ENTRY), *ARGUMENTS, f"run.samples={steps * PER_STEP}", *overrides]
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=seconds, check=False
    )


def crash(kind: str, folder: Path, *, oracle: Path | None = None, rank: int = 1) -> Crashed:
    """One failure of a `kind` of `fake.faults` on `rank`; `oracle` is a folder where `run` was left alone."""
    return crashes([kind], folder, oracle=oracle, rank=rank)[0]


def crashes(kinds: Sequence[str], folder: Path, *, oracle: Path | None = None, rank: int = 1) -> list[Crashed]:
    """Several failures in one run, each after the run has recovered from the one before.

    An `oracle` has as many steps: `steps_for(kinds)`. AssertionError if the run does not come to its end.
    """
    steps = steps_for(kinds)
    if oracle is None:
        oracle = folder / "oracle"
        alone = run(oracle, steps=steps)
        assert alone.returncode == 0, alone.stderr
    places = {place: APART * (place + 1) for place in range(len(kinds))}
    failing = folder / "failing"
    overrides = []
    for place, step in places.items():
        (failing / str(place)).mkdir(parents=True)
        about = f"kind: {kinds[place]}, step: {step}, rank: {rank}, folder: '{place}'"
        overrides.append(f"callbacks.crash{place}={{_target_: fake.crash.Crash, {about}}}")
    done = run(failing, f"run.silence={SILENCE}", *overrides, steps=steps, seconds=120.0 * (1 + len(kinds)))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (failing / kills.RUN / "restarts.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == len(kinds), done.stderr
    equal = not list(kills.differences(failing, oracle))
    found = []
    for place, row in enumerate(rows):
        failed, recovered = (float((failing / str(place) / name).read_text()) for name in ("failed", "recovered"))
        found.append(
            Crashed(
                kind=kinds[place],
                detected_s=row["detected"] - failed,
                recovered_s=recovered - failed,
                rank_right=row["rank"] == rank,
                cause_right=row["kind"] == faults.CAUSES[kinds[place]][0] and row["step"] == places[place],
                equal=equal,
            )
        )
    return found


def steps_for(kinds: Sequence[str]) -> int:
    """Steps of a run with these failures."""
    return APART * (len(kinds) + 1)
