"""The share of time that moves training forward while ranks are killed: the command itself, with its own restarts.

- Failures are exponential in time; each is SIGKILL to one rank, drawn at random. train.py's parent does the rest.
- Every second of the run belongs to one of: steps that were kept, steps that were done again, saving, reading a
  checkpoint, starting a process, noticing the failure.
- Beside it stands what Daly's model says for the same figures (Future Generation Computer Systems 22, 2006, eq. 20):
  for a mean time M between failures, an interval t of work, a save of C and a restart of R seconds, the share is
  t / (M exp(R/M) (exp((t + C)/M) - 1)); Young's best interval is sqrt(2 C M).
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.soak import corpus
from benchmarks.soak.measure import spread
from dit_video import log

MEANS = (30, 60, 120)  # seconds between failures
EVERY = 400  # samples between checkpoints: two seconds or so
ENTRY = Path("tests/fakes/train.py").resolve()
TRACE = "clock.jsonl"


@dataclass(frozen=True)
class Span:
    """What the first rank did from when to when."""

    what: str
    since: float
    until: float
    step: int
    pid: int


def measure(folder: Path, data: Path, *, minutes: float, means: Sequence[int] = MEANS) -> dict[str, Any]:
    """A run of so many minutes for each mean time between failures."""
    figures = {}
    for between in means:
        trial = folder / "goodput" / f"{between}"
        shutil.rmtree(trial, ignore_errors=True)
        trial.mkdir(parents=True)
        figures[f"mean_{between}_s"] = found = one(trial, data, between=between, seconds=60 * minutes)
        log.say(f"a failure each {between} s: {found['goodput']:.1%} forward, the model says {found['model']:.1%}")
    return figures


def one(trial: Path, data: Path, *, between: float, seconds: float) -> dict[str, Any]:
    """Train for so long, kill on the way, and account for the time."""
    clock = f"callbacks.clock={{_target_: fake.clock.Clock, path: {TRACE}}}"
    given = corpus.arguments(data, *corpus.TWO, clock, "run.restarts=1000", samples=10**9, every=EVERY)
    draw, failures, parents = random.Random(between), [], 0
    began = time.time()
    until, due = began + seconds, began + draw.expovariate(1 / between)
    parent: subprocess.Popen[bytes] | None = None
    try:
        while time.time() < until:
            if parent is None or parent.poll() is not None:
                parent, parents = command(trial, given), parents + 1
            if time.time() >= due:
                failures += kill_one(parent.pid, draw)
                due = time.time() + draw.expovariate(1 / between)
            time.sleep(0.02)
    finally:
        ended = time.time()
        if parent is not None:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()
    spans = list(read(trial / TRACE))
    return account(spans, began=began, ended=ended, failures=failures, between=between) | {"parents": parents}


def command(trial: Path, given: Sequence[str]) -> subprocess.Popen[bytes]:
    """train.py as from a shell, in a session of its own."""
    path = os.pathsep.join([str(ENTRY.parents[2]), str(ENTRY.parent)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    with (trial / "output.txt").open("ab") as file:
        return subprocess.Popen(
            [sys.executable, str(ENTRY), *given],
            cwd=trial,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def kill_one(parent: int, draw: random.Random) -> list[float]:
    """SIGKILL to one of the ranks, the children of the parent; when, or nothing where there is none just now."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8").split()
    if not listed:
        return []
    with suppress(ProcessLookupError):
        os.kill(int(draw.choice(listed)), signal.SIGKILL)
        return [time.time()]
    return []


def read(path: Path) -> Iterator[Span]:
    """What `fake.clock` has written."""
    for line in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        yield Span(found["what"], found["from"], found["to"], found["step"], found["pid"])


def account(
    spans: Sequence[Span], *, began: float, ended: float, failures: Sequence[float], between: float
) -> dict[str, Any]:
    """Where every second between `began` and `ended` went, and what the model says of it."""
    kept = {span.step: span.pid for span in spans if span.what == "step"}  # the last one to do a step
    lives = [[span for span in spans if span.pid == pid] for pid in dict.fromkeys(span.pid for span in spans)]
    ends = [next((time for time in failures if time > life[-1].until), ended) for life in lives]
    time_of = dict.fromkeys(("forward", "redo", "save", "load", "start", "notice"), 0.0)
    free, redone, recovery = began, [], []
    for life, end in zip(lives, ends, strict=True):
        steps = [span for span in life if span.what == "step"]
        first = life[0].since
        working = steps[0].since if steps else end
        load = total(life, "load")
        save = sum(span.until - span.since for span in life if span.what == "save" and span.since >= working)
        forward = sum(span.until - span.since for span in steps if kept[span.step] == span.pid) - save
        time_of["notice"] += first - free
        time_of["load"] += load
        time_of["start"] += working - first - load
        time_of["save"] += save
        time_of["forward"] += forward
        time_of["redo"] += end - working - save - forward
        redone.append(sum(kept[span.step] != span.pid for span in steps))
        if free > began and steps:
            recovery.append(steps[0].until - free)
        free = end
    whole = ended - began
    saves = [span.until - span.since for span in spans if span.what == "save"]
    interval = time_of["forward"] / max(len(saves) - len(lives), 1)
    restart = (time_of["notice"] + time_of["start"] + time_of["load"]) / len(lives)
    cost = mean(saves) if saves else 0.0
    met = whole / max(len(failures), 1)
    return {
        "goodput": round(time_of["forward"] / whole, 4),
        "model": round(daly(between, work=interval, save=cost, restart=restart), 4),
        "model_of_these_failures": round(daly(met, work=interval, save=cost, restart=restart), 4),
        "shares": {name: round(seconds / whole, 4) for name, seconds in time_of.items()},
        "failures": len(failures),
        "minutes": round(whole / 60, 1),
        "steps": len(kept),
        "steps_redone": spread(redone[:-1]),
        "recovery_s": spread(recovery),
        "save_stall_s": spread(saves, digits=4),
        "interval_s": round(interval, 2),
        "best_interval_s": round(math.sqrt(2 * cost * between), 2),
    }


def total(life: Sequence[Span], what: str) -> float:
    """Seconds of one kind of span."""
    return sum(span.until - span.since for span in life if span.what == what)


def daly(between: float, *, work: float, save: float, restart: float) -> float:
    """The share of time that `work` seconds between saves are, where failures come `between` seconds apart."""
    return work / (between * math.exp(restart / between) * math.expm1((work + save) / between))
