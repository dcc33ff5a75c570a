"""Tells a rank that hangs from one that takes its time, and names it.

- A rank is frozen when its thread does not beat for `silence` seconds: it is stopped, or something holds the GIL.
- The ranks are stuck when none of them marks anything for as long as what they are doing may take: `silence` seconds
  for a step, more where one of them still starts, waits for data, saves or samples, as the others then wait for it.
- Time is what this process saw pass: a machine that sleeps, or a job that is suspended, is no hang.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dit_video.launch import heartbeat, stacks
from dit_video.launch.cause import Cause, Kind, where
from dit_video.launch.group import Rank
from dit_video.launch.heartbeat import Beat

LONG = 4  # times `silence`: for all that is no step
LEAST = 60.0  # seconds, for the same
MUTE = 3.0  # seconds without a beat that tell, among ranks that do not go on, who has stopped: six beats
STOPPED = frozenset({"T", "t"})
STATES = {
    "T": "it is stopped (SIGSTOP)",
    "t": "a debugger holds it",
    "D": "it waits for a disk or a driver",
    "R": "something in it holds the GIL, and runs",
    "S": "something in it holds the GIL, and sleeps",
}


class Clock:
    """Seconds in which this process was awake."""

    def __init__(self) -> None:
        self.now, self.last = 0.0, time.monotonic()

    def tick(self) -> float:
        """The time now; call it every second at least."""
        now = time.monotonic()
        self.now += min(now - self.last, 1.0)
        self.last = now
        return self.now


@dataclass
class Seen:
    """What a rank was last seen to write, and when that changed."""

    beat: Beat
    beat_at: float
    mark_at: float


@dataclass(frozen=True, kw_only=True)
class Hang:
    """Ranks that do not go on, all of them or the frozen ones, and since when."""

    frozen: tuple[int, ...]
    seconds: float


@dataclass
class Watchdog:
    """Watches the ranks of one attempt; `patience` seconds are what a loader may wait for its storage."""

    silence: float
    patience: float
    whole: bool
    seen: dict[int, Seen] = field(default_factory=dict)

    def look(self, ranks: Sequence[Rank], *, now: float, waiting: bool = False) -> Hang | None:
        """Whether the ranks hang at `now`; while `waiting` for them to stop, they may take their time."""
        for rank in ranks:
            self.note(rank.number, rank.beat(), now=now)
        seen = {rank.number: self.seen[rank.number] for rank in ranks}
        frozen = {number: now - item.beat_at for number, item in seen.items() if now - item.beat_at > self.deaf(item)}
        if frozen:
            return Hang(frozen=tuple(frozen), seconds=max(frozen.values()))
        quiet = min((now - item.mark_at for item in seen.values()), default=0.0)
        if seen and not waiting and quiet > max(self.limit(item) for item in seen.values()):
            mute = tuple(number for number, item in seen.items() if now - item.beat_at > MUTE)
            return Hang(frozen=mute, seconds=quiet)
        return None

    def quiet(self, now: float) -> bool:
        """Whether no rank that was seen has marked anything for as long as a step may take, and each is in a step."""
        seen = self.seen.values()
        in_step = all(item.beat.phase in {"step", "failed"} for item in seen)
        return bool(seen) and in_step and all(now - item.mark_at > self.silence for item in seen)

    def note(self, number: int, beat: Beat, *, now: float) -> None:
        """Keep when the rank's counters changed."""
        item = self.seen.setdefault(number, Seen(beat, now, now))
        if beat.beats != item.beat.beats:
            item.beat_at = now
        if beat.marks != item.beat.marks:
            item.mark_at = now
        item.beat = beat

    def deaf(self, item: Seen) -> float:
        """Seconds without a beat; imports and the first use of a device may hold the GIL for long, so may the end."""
        return max(self.silence, LEAST) if item.beat.phase in {"start", "end"} else self.silence

    def limit(self, item: Seen) -> float:
        """Seconds without a mark; where ranks are out of sight, one of them may be waiting for data."""
        if item.beat.phase in {"step", "failed"} and self.whole:
            return self.silence
        return max(LONG * self.silence, LEAST) + self.patience


def dumps(ranks: Sequence[Rank], *, seconds: float = 2.0) -> dict[int, str]:
    """The stacks of ranks that do not go on; those that are stopped are let go for the moment that it takes."""
    files = {rank.number: heartbeat.stack_file(rank.folder, rank.number) for rank in ranks if rank.beat().beats}
    before = {number: path.stat().st_size for number, path in files.items()}
    for number in (signal.SIGUSR2, signal.SIGCONT):
        for rank in ranks:
            if rank.number in files:
                rank.send(number)
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(path.stat().st_size == before[number] for number, path in files.items()):
        time.sleep(0.02)
    time.sleep(0.05)  # the rest of a dump
    return {number: path.read_bytes()[before[number] :].decode(errors="replace") for number, path in files.items()}


def all_dumps(ranks: Sequence[Rank], states: Mapping[int, str]) -> dict[int, str]:
    """The stacks of all ranks; those that are stopped come last and alone, so that letting them go leads nowhere."""
    stopped = [rank for rank in ranks if states[rank.number] in STOPPED]
    others = [rank for rank in ranks if rank not in stopped]
    found = dumps(others) if others else {}
    if stopped:
        for rank in others:
            rank.kill()
        found |= dumps(stopped)
    return found


def frames(ranks: Sequence[Rank]) -> dict[int, tuple[str, ...]]:
    """What the main threads of ranks do, innermost frames first."""
    states = {rank.number: state(rank.process.pid) for rank in ranks}
    return {number: tuple(stacks.main_thread(dump)) for number, dump in all_dumps(ranks, states).items()}


def state(process: int) -> str:
    """The state of a process in a letter, as the kernel has it; "" where it does not tell."""
    path = Path(f"/proc/{process}/stat")
    return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] if path.is_file() else ""


def guilty(hang: Hang, ranks: Sequence[Rank]) -> Cause:
    """The rank that the others wait for; the stacks of all stand in their files."""
    states = {rank.number: state(rank.process.pid) for rank in ranks}
    beats = {rank.number: rank.beat() for rank in ranks}
    frames = {number: stacks.main_thread(dump) for number, dump in all_dumps(ranks, states).items()}
    kind: Kind = "stuck"
    if hang.frozen:
        who: int | None = min(hang.frozen, key=lambda number: (states[number] not in STOPPED, number))
        assert who is not None
        kind = "stopped" if states[who] in STOPPED else "frozen"
        text = f"has shown no sign of life for {hang.seconds:.0f} s {where(beats[who])}: {STATES.get(states[who], '')}"
    else:
        found = stacks.blame(frames, {number: beat.done for number, beat in beats.items()})
        who = found.rank if len(ranks) > 1 else ranks[0].number
        at = where(beats[who if who is not None else ranks[0].number])
        text = f"has not gone on for {hang.seconds:.0f} s {at}" + (f": {found.why}" if len(ranks) > 1 else "")
    beat = beats[who] if who is not None else min(beats.values(), key=lambda item: item.done)
    each = (f"rank {number}: {stack[0]}" for number, stack in frames.items() if stack)
    own = tuple(frames.get(who, ()) if who is not None else each)
    return Cause(rank=who, kind=kind, name=kind, text=text, code=1, time=time.time(), beat=beat, frames=own)
