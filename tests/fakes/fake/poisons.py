"""Losses and gradients that are not finite, on either rank, under either policy, and what must come of each."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from dit_video import checkpoint
from fake import forked, kills
from fake.poison import Dose
from fake.stops import ARGUMENTS, EACH, RANKS, STEPS

STEP = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """A dose at STEP, and what the run is to do about it."""

    dose: Dose
    policy: Literal["skip", "stop"]


def every() -> Iterator[Case]:
    """NaN and infinity, in a batch and in a gradient, on either rank, under either policy."""
    for factor, where, rank, policy in product((math.nan, math.inf), ("batch", "gradient"), (0, 1), ("skip", "stop")):
        yield Case(dose=Dose(step=STEP, factor=factor, where=where, rank=rank), policy=policy)  # type: ignore[arg-type]


def check(case: Case, folder: Path) -> None:
    """A run of two ranks; AssertionError where anything is not as it should be."""
    dose = case.dose
    about = f"step: {dose.step}, factor: {dose.factor}, where: {dose.where}, rank: {dose.rank}"
    poison = f"callbacks.poison={{_target_: fake.poison.Poison, doses: [{{_target_: fake.poison.Dose, {about}}}]}}"
    settings = (f"callbacks.finite.policy={case.policy}", f"run.every_samples={EACH}", "callbacks.checkpoint.keep=99")
    running = forked.launch(folder, [*ARGUMENTS, *settings, poison], ranks=RANKS)
    stderr = running.done(100).stderr
    code, last = (0, STEPS) if case.policy == "skip" else (2, STEP - 1)
    assert running.codes() == [code] * RANKS, f"{case}: {running.codes()}\n{stderr}"
    samples = [f"{STEP - 1}-{micro * RANKS + dose.rank}" for micro in (0, 1)]
    assert f"Samples of rank {dose.rank}: {' '.join(samples)}" in stderr, f"{case}\n{stderr}"
    replays = sorted(path.name for path in (folder / kills.RUN / "replay").glob("*.json"))
    assert replays == [f"{STEP:06d}-{dose.rank}.json"], f"{case}: {replays}"
    told = json.loads((folder / kills.RUN / "replay" / replays[0]).read_text(encoding="utf-8"))
    assert [micro["keys"] for micro in told["micros"]] == [[sample] for sample in samples]
    states = [kills.read(path) for path in sorted((folder / kills.RUN / "checkpoints").glob("0*"))]
    for state in states:
        assert all(value.isfinite().all() for name, value in state.items() if not name.startswith("guard.")), case
    newest = checkpoint.latest(folder / kills.RUN / "checkpoints")
    assert newest is not None
    assert checkpoint.progress(newest).step == last, f"{case}: {newest}"
    same = [unchanged(states[step - 1], states[step]) for step in range(1, len(states))]
    assert same == [step == STEP - 1 for step in range(1, last)], f"{case}: {same}"


def unchanged(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a step has left weights, averages and optimizer as they were, to the bit."""
    return all(kills.same_bits(one[name], other[name]) for name in one if not name.startswith("guard."))


def tried(cases: Iterable[Case], folder: Path) -> dict[str, Any]:
    """How many were tried, how many were as they should be, and what went wrong with the others."""
    counts: dict[str, Any] = {"tried": 0, "right": 0, "wrong": []}
    for number, case in enumerate(cases):
        own = folder / str(number)
        own.mkdir(parents=True)
        counts["tried"] += 1
        try:
            check(case, own)
            counts["right"] += 1
        except AssertionError as error:
            counts["wrong"].append(str(error))
        shutil.rmtree(own)
    return counts
