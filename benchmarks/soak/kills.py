"""SIGKILL of the whole job at uniformly random times, as often as asked, on one process and on two ranks."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fake import kills
from fake.kills import Attempt

from benchmarks.soak import corpus
from benchmarks.soak.measure import spread
from dit_video import log


def measure(folder: Path, data: Path, *, count: int) -> dict[str, Any]:
    """Three quarters of `count` kills on two ranks, the rest on one process; figures of both."""
    ways = {"two ranks": (2, count - count // 4, corpus.TWO), "one process": (0, count // 4, ())}
    found = {name: one(folder / "kills" / name, data, *way) for name, way in ways.items()}
    total = {key: sum(figures[key] for figures in found.values()) for key in SUMS}
    return {**total, **found}


SUMS = ("tried", "identical", "during_a_save", "before_the_first_step", "duplicates", "missing")


def one(folder: Path, data: Path, ranks: int, count: int, more: Sequence[str]) -> dict[str, Any]:
    """Runs that are killed until there are `count` kills, each held against the oracle at its end."""
    shutil.rmtree(folder, ignore_errors=True)
    given = corpus.arguments(data, *more)
    kills.whole(folder / "oracle", given, ranks=ranks)
    within = kills.whole(folder / "again", given, ranks=ranks)
    assert not list(kills.differences(folder / "again", folder / "oracle")), "two runs left alone differ"
    once(folder / "oracle")
    draw, figures = random.Random(ranks), dict.fromkeys(SUMS, 0)
    redone: list[int] = []
    first: list[float] = []
    differing: list[str] = []
    while figures["tried"] < count:
        trial = folder / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        plan = kills.at_random(draw, within=within, most=count - figures["tried"], ranks=ranks)
        attempts = kills.survive(trial, given, plan=plan)
        samples = kills.seen(trial)
        found = list(kills.differences(trial, folder / "oracle"))
        differing += found
        figures["identical"] += 0 if found else len(attempts) - 1
        figures["tried"] += len(attempts) - 1
        figures["during_a_save"] += sum(attempt.saving for attempt in attempts)
        figures["before_the_first_step"] += idle(attempts, samples)
        figures["duplicates"] += sum((kills.ledger(trial) - kills.ledger(folder / "oracle")).values())
        figures["missing"] += sum((kills.ledger(folder / "oracle") - kills.ledger(trial)).values())
        redone += kills.redone(samples)
        first += kills.to_first_step(samples, attempts)[1:]
        log.say(f"kills on {folder.name}: {figures['tried']} of {count}, {figures['identical']} identical")
    return figures | {
        "steps": len(kills.curve(folder / "oracle")),
        "steps_redone": spread(redone),
        "to_first_step_s": spread(first),
        "differing": sorted(set(differing)),
    }


def once(oracle: Path) -> None:
    """The oracle itself, a part of an epoch, has every sample exactly once."""
    keys = [sample.key for sample in kills.seen(oracle)]
    assert keys
    assert len(set(keys)) == len(keys), "a sample comes twice within an epoch"


def idle(attempts: Sequence[Attempt], samples: Sequence[kills.Sample]) -> int:
    """Killed attempts that had not begun a step."""
    working = {sample.attempt for sample in samples}
    return sum(attempt.killed and number not in working for number, attempt in enumerate(attempts))
