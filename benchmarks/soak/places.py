"""SIGKILL within a given piece of the program: whatever it was doing, the run goes on as if nothing had been."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake import kills
from fake.kills import Start

from benchmarks.soak import corpus
from dit_video import log

SAMPLING = (
    "callbacks.samples={_target_: dit_video.callbacks.samples.Samples, dir: '${run.dir}', every_samples: 60, "
    "prompts: [a red circle], sampling: {_target_: dit_video.pipeline.denoise.Sampling, steps: 2}}",
)
CALLS = {  # a piece of the program, and which of its calls there may be: a checkpoint comes every five steps
    "in an accumulation window": ("dit_video.tasks.dit:DiTTask.training_step", range(8, 22, 2)),
    "in the update": ("dit_video.optim.muon:Muon.step", range(4, 11)),
    "in the update of the averages": ("dit_video.optim.ema:Ema.update", range(4, 11)),
    "while sampling, averages swapped in": ("dit_video.callbacks.samples:Samples.make", (2,)),
    "while writing videos": ("dit_video.callbacks.samples:Samples.write", (1,)),
    "while reading a checkpoint": ("dit_video.callbacks.checkpoint:Checkpoint.on_fit_start", (1,)),
}
SAVING = "while saving"
EACH = 3  # kills of a run


def measure(folder: Path, data: Path, *, runs: int = 2) -> dict[str, Any]:
    """For each place `runs` runs on two ranks, killed there `EACH` times, held against the oracle."""
    base, draw = folder / "places", random.Random(1)
    shutil.rmtree(base, ignore_errors=True)
    given = corpus.arguments(data, *corpus.TWO, *SAMPLING, samples=240)
    kills.whole(base / "oracle", given, ranks=2)
    figures: dict[str, Any] = {}
    for place in (*CALLS, SAVING):
        found = {"tried": 0, "identical": 0}
        for run in range(runs):
            trial = base / f"{place} {run}"
            attempts = kills.survive(trial, given, plan=plan(place, trial, draw))
            same = not list(kills.differences(trial, base / "oracle"))
            number = sum(attempt.killed for attempt in attempts)
            found = {"tried": found["tried"] + number, "identical": found["identical"] + same * number}
        figures[place] = found
        log.say(f"killed {place}: {found['identical']} of {found['tried']} identical")
    return {key: sum(found[key] for found in figures.values()) for key in ("tried", "identical")} | figures


def plan(place: str, trial: Path, draw: random.Random) -> Callable[[int], Start]:
    """The attempts of one run."""

    def start(number: int) -> Start:
        if number >= EACH:
            return Start(ranks=2)
        if place == SAVING:
            delay = draw.uniform(0, 0.03)
            return Start(ranks=2, kill=Saving(trial, delay=delay, number=draw.randint(1, 2)))
        where, calls = CALLS[place]
        if where.endswith("on_fit_start") and number == 0:  # there is nothing to read yet
            where, calls = CALLS["in the update"][0], range(8, 11)
        call, after = draw.choice(list(calls)), draw.uniform(0, 0.01)
        what = f"{{_target_: fake.during.During, place: '{where}', call: {call}, after: {after:.4f}}}"
        return Start(ranks=2, more=(f"callbacks.during={what}",))

    return start


class Saving:
    """The moment `delay` seconds into the save number `number` of a run in `folder`."""

    def __init__(self, folder: Path, *, delay: float, number: int) -> None:
        self.folder, self.delay, self.number = folder, delay, number
        self.seen: set[str] = set()
        self.since: float | None = None

    def __call__(self, elapsed: float) -> bool:
        """Whether it has come."""
        self.seen |= {path.name for path in (self.folder / kills.RUN).glob("checkpoints/.*.part")}
        if self.since is None and len(self.seen) >= self.number:
            self.since = elapsed
        return self.since is not None and elapsed >= self.since + self.delay
