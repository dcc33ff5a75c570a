"""A run that is killed again and again until it is done, and what must not have changed by it."""

from __future__ import annotations

import csv
import random
import signal
import time
import warnings
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
from fake import forked, server

RUN = Path("outputs/runs/a")
SEEN = "seen.csv"
LIMIT = 200  # attempts


@dataclass(frozen=True)
class Start:
    """How to start an attempt: on how many ranks, with what more, and at which moment to kill all of it.

    `kill` is asked every few milliseconds, with the seconds since the beginning; None lets it be.
    """

    ranks: int = 0
    more: tuple[str, ...] = ()
    kill: Callable[[float], bool] | None = None


@dataclass(frozen=True)
class Attempt:
    """One start of the command: when, whether it was killed, and whether while it was saving."""

    began: float
    killed: bool
    saving: bool


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


def whole(folder: Path, arguments: Sequence[str], *, ranks: int = 0) -> float:
    """The run that is left alone, and how many seconds it took."""
    server.warm()
    attempt = survive(folder, arguments, plan=lambda _: Start(ranks=ranks))[0]
    return time.time() - attempt.began


def at_random(draw: random.Random, *, within: float, most: int, ranks: int = 0) -> Callable[[int], Start]:
    """Attempts that are killed at uniformly random times, the first `most` of them."""

    def plan(number: int) -> Start:
        if number >= most:
            return Start(ranks=ranks)
        moment = draw.uniform(0, within)
        return Start(ranks=ranks, kill=lambda elapsed: elapsed >= moment)

    return plan


def survive(folder: Path, arguments: Sequence[str], *, plan: Callable[[int], Start]) -> list[Attempt]:
    """Start a command in `folder` as `plan` says, until it is done.

    AssertionError where one that was not killed ends with another exit code than 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    attempts: list[Attempt] = []
    while len(attempts) < LIMIT:
        start = plan(len(attempts))
        record = f"callbacks.record={{_target_: fake.record.Record, path: {SEEN}, attempt: {len(attempts)}}}"
        running = forked.launch(folder, [*arguments, record, *start.more], ranks=start.ranks)
        if start.kill is not None and outlived(running, start.kill):
            running.kill()
        done = running.done()
        killed = -signal.SIGKILL in running.codes()
        begun = [path.stat().st_mtime for path in (folder / RUN).glob("checkpoints/.*.part")]
        attempts.append(Attempt(running.began, killed, killed and max(begun, default=0.0) >= running.began))
        if not killed:
            assert done.returncode == 0, done.stderr
            return attempts
    raise AssertionError(f"not done after {LIMIT} attempts")


def outlived(running: forked.Running, moment: Callable[[float], bool]) -> bool:
    """Whether it still runs at a moment, on all of its ranks."""
    while all(code is None for code in running.codes()):
        if moment(time.time() - running.began):
            return True
        time.sleep(0.002)
    return False


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
    """All that the newest checkpoint of a run holds, the optimizer's state too."""
    path = checkpoint.latest(folder / RUN / "checkpoints")
    assert path is not None, f"{folder} has no checkpoint"
    return read(path)


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, those in pieces whole again."""
    reader = dcp.FileSystemReader(path)
    about = reader.read_metadata().state_dict_metadata
    found = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in about.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        dcp.load(found, storage_reader=reader, no_dist=True)
    return found


def curve(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without what a clock says, as written: the same bits are the same text."""
    with (folder / RUN / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if "second" not in name and name != "data_wait"} for row in rows]


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the bit, NaN and the sign of zero included."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(*(value.contiguous().reshape(-1).view(torch.uint8) for value in (one, other)))


def differences(one: Path, other: Path) -> Iterator[str]:
    """What differs between two runs that ought to be the same: tensors, bit for bit, curves, samples."""
    first, second = tensors(one), tensors(other)
    yield from sorted(first.keys() ^ second.keys())
    yield from (name for name in sorted(first.keys() & second.keys()) if not same_bits(first[name], second[name]))
    if curve(one) != curve(other):
        yield "metrics.csv"
    if ledger(one) != ledger(other):
        yield SEEN
