"""A run that is killed again and again until it is done, and what must not have changed by it."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from dit_video import checkpoint
from fake import forked

RUN = Path("outputs/runs/a")
SEEN = "seen.csv"
LIMIT = 200  # attempts


@dataclass(frozen=True)
class Attempt:
    """One start of the command: when, on how many ranks, and whether it was killed."""

    began: float
    ranks: int
    killed: bool


class Sample(NamedTuple):
    """A line of `fake.record`."""

    step: int
    samples_seen: int
    key: str
    source: str
    caption: str
    attempt: int
    rank: int
    time: float


def survive(
    folder: Path,
    arguments: Sequence[str],
    *,
    ranks: Callable[[int], int],
    wait: Callable[[int], float | None],
) -> list[Attempt]:
    """Start a command in `folder` until it is done, and kill attempt n, on `ranks(n)`, after `wait(n)` seconds.

    None lets an attempt be. AssertionError where one ends by itself with another exit code than 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    attempts: list[Attempt] = []
    while len(attempts) < LIMIT:
        number = len(attempts)
        record = f"callbacks.record={{_target_: fake.record.Record, path: {SEEN}, attempt: {number}}}"
        running = forked.launch(folder, [*arguments, record], ranks=ranks(number))
        seconds = wait(number)
        killed = seconds is not None and outlived(running, seconds)
        if killed:
            running.kill()
        done = running.done()
        attempts.append(Attempt(running.began, ranks(number), killed))
        if not killed:
            assert done.returncode == 0, done.stderr
            return attempts
    raise AssertionError(f"not done after {LIMIT} attempts")


def outlived(running: forked.Running, seconds: float) -> bool:
    """Whether it still runs after so many seconds from its beginning, on all of its ranks."""
    while time.time() < running.began + seconds:
        if any(code is not None for code in running.codes()):
            return False
        time.sleep(0.002)
    return all(code is None for code in running.codes())


def seen(folder: Path) -> list[Sample]:
    """Everything that was trained on, what was lost by kills too."""
    if not (folder / SEEN).exists():
        return []
    with (folder / SEEN).open(newline="", encoding="utf-8") as file:
        return [
            Sample(int(row[0]), int(row[1]), *row[2:5], int(row[5]), int(row[6]), float(row[7]))
            for row in csv.reader(file)
        ]


def surviving(samples: Sequence[Sample]) -> list[Sample]:
    """What the weights were made of: of every step the last attempt at it, by step and rank."""
    last: dict[int, int] = {}
    for sample in samples:
        last[sample.step] = max(sample.attempt, last.get(sample.step, 0))
    kept = [sample for sample in samples if sample.attempt == last[sample.step]]
    return sorted(kept, key=lambda sample: (sample.step, sample.rank))


def ledger(folder: Path) -> Counter[tuple[int, int, str, str]]:
    """How often each sample, with its caption, was trained on at each step."""
    return Counter((s.step, s.samples_seen, s.key, s.caption) for s in surviving(seen(folder)))


def redone(samples: Sequence[Sample]) -> list[int]:
    """Steps that each attempt had begun and a later one began again."""
    by_attempt: dict[int, set[int]] = {}
    for sample in samples:
        by_attempt.setdefault(sample.attempt, set()).add(sample.step)
    later = pairwise([by_attempt[attempt] for attempt in sorted(by_attempt)])
    return [len([step for step in one if step >= min(other)]) for one, other in later]


def to_first_step(samples: Sequence[Sample], attempts: Sequence[Attempt]) -> list[float]:
    """Seconds from the command to the end of its first step, of the attempts that came to it."""
    times: dict[int, dict[int, float]] = {}
    for sample in samples:
        times.setdefault(sample.attempt, {}).setdefault(sample.step, sample.time)
    seconds = []
    for attempt, steps in times.items():
        if len(steps) > 1:
            seconds.append(sorted(steps.values())[1] - attempts[attempt].began)
    return seconds


def tensors(folder: Path) -> dict[str, Tensor]:
    """All that the newest checkpoint of a run holds, the optimizer's state too; sharded ones are whole again."""
    path = checkpoint.latest(folder / RUN / "checkpoints")
    assert path is not None, f"{folder} has no checkpoint"
    reader = dcp.FileSystemReader(path)
    about = reader.read_metadata().state_dict_metadata
    found = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in about.items()}
    dcp.load(found, storage_reader=reader, no_dist=True)
    return found


def curve(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without what a clock says, as written: the same bits are the same text."""
    with (folder / RUN / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if "second" not in name and name != "data_wait"} for row in rows]


def differences(one: Path, other: Path) -> Iterator[str]:
    """What differs between two runs that ought to be the same: tensors, bit for bit, curves, samples."""
    first, second = tensors(one), tensors(other)
    for name in sorted(first.keys() | second.keys()):
        both = name in first and name in second
        if not both or first[name].dtype != second[name].dtype or not torch.equal(first[name], second[name]):
            yield name
    if curve(one) != curve(other):
        yield "metrics.csv"
    if ledger(one) != ledger(other):
        yield SEEN
