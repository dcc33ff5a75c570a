"""Another number of ranks at every start: what was saved is what is read, and the order goes on unbroken."""

from __future__ import annotations

import csv
import random
import shutil
from pathlib import Path
from typing import Any

import torch
from fake import kills
from fake.kills import Start

from benchmarks.soak import corpus
from dit_video import checkpoint, log

WORLDS = (2, 1, 4, 2)
FOUR = (*corpus.TWO, "trainer.num_nodes=2")  # so says forked.group
PLANS: dict[str, dict[int, tuple[str, ...]]] = {
    "replicas": {1: (), 2: corpus.TWO, 4: FOUR},
    "shards": {1: (), 2: (*corpus.TWO, "parallel.shard=2"), 4: (*FOUR, "parallel.shard=2")},
    "sequences": {
        1: (),
        2: (*corpus.TWO, "parallel.sequence=2"),
        4: (*FOUR, "parallel.shard=2", "parallel.sequence=2"),
    },
}


def measure(folder: Path, data: Path) -> dict[str, Any]:
    """For each way to lay out the ranks a run over `WORLDS`, killed at each change, against one process left alone."""
    base = folder / "worlds"
    shutil.rmtree(base, ignore_errors=True)
    given = corpus.arguments(data)
    kills.whole(base / "oracle", given)
    figures = {}
    for name, layouts in PLANS.items():
        figures[name] = one(base / name, given, layouts, base / "oracle")
        log.say(f"worlds {WORLDS}, {name}: {figures[name]}")
    return figures | {"workers": workers(base / "workers", given, base / "oracle")}


def workers(trial: Path, given: list[str], oracle: Path) -> dict[str, int]:
    """Another number of loader processes at every start."""
    draw, counts = random.Random(3), (0, 3, 1)

    def plan(number: int) -> Start:
        more = (f"datamodules.workers={counts[number]}",)
        enough = draw.randint(8, 12) + 10 * number
        return Start(more=more, kill=None if number == len(counts) - 1 else lambda _: reached(trial, enough))

    attempts = kills.survive(trial, given, plan=plan)
    identical = not list(kills.differences(trial, oracle))
    return {"changes": len(attempts) - 1, "identical": identical * (len(attempts) - 1)}


def one(trial: Path, given: list[str], layouts: dict[int, tuple[str, ...]], oracle: Path) -> dict[str, Any]:
    """One run over all worlds."""
    draw, read = random.Random(2), []

    def plan(number: int) -> Start:
        ranks = WORLDS[min(number, len(WORLDS) - 1)]
        found = checkpoint.latest(trial / kills.RUN / "checkpoints")
        if found is not None:
            shutil.copytree(found, trial / f"read{number}", dirs_exist_ok=True)
            read.append(number)
        echo = f"callbacks.echo={{_target_: fake.echo.Echo, path: echo{number}.pt}}"
        more = (*layouts[ranks], echo)
        if number >= len(WORLDS) - 1:
            return Start(ranks=ranks, more=more)
        enough = draw.randint(8, 12) + 10 * number
        return Start(ranks=ranks, more=more, kill=lambda _: reached(trial, enough))

    attempts = kills.survive(trial, given, plan=plan)
    equal = sum(same(trial / f"read{number}", trial / f"echo{number}.pt") for number in read)
    return {
        "worlds": list(WORLDS),
        "changes": len(attempts) - 1,
        "reloads": len(read),
        "bit_equal": equal,
        "order_unbroken": kills.ledger(trial) == kills.ledger(oracle),
        "largest_relative_difference_of_loss": difference(trial, oracle),
    }


def reached(folder: Path, step: int) -> bool:
    """Whether the row of a step is written."""
    table = folder / kills.RUN / "metrics.csv"
    if not table.exists():
        return False
    with table.open(encoding="utf-8") as file:
        rows = sum(1 for _ in file) - 1
    return rows >= step


def same(saved: Path, echo: Path) -> bool:
    """Whether memory after reading holds the bits that were saved."""
    first, second = kills.read(saved), torch.load(echo, weights_only=True)
    return first.keys() == second.keys() and all(kills.same_bits(first[n], second[n]) for n in first)


def difference(one: Path, other: Path) -> float:
    """The largest relative difference of the losses of a step."""
    losses = []
    for folder in (one, other):
        with (folder / kills.RUN / "metrics.csv").open(encoding="utf-8") as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert len(losses[0]) == len(losses[1])
    return max(abs(a - b) / abs(b) for a, b in zip(*losses, strict=True))
