"""Why a rank ended: from its exit code, from what it has written down, and from what it said last."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dit_video.config.mistakes import INTERRUPTED, USER_ERROR
from dit_video.launch import heartbeat, report, stacks
from dit_video.launch.heartbeat import Beat
from dit_video.signals import BAD_NODE, REQUEUE

Kind = Literal[
    "done", "stop", "mistake", "consequence", "exception", "memory", "signal", "exit", "stopped", "frozen", "stuck",
    "node", "gone",
]  # fmt: skip
AGREED = "agreed"  # a stop that all ranks agree on; another one leaves the others waiting
ELSEWHERE = frozenset({"node", "gone"})  # of a machine that is bad, or lost: no fault of what runs on it
FAILED = frozenset({"exception", "memory", "signal", "exit", "stopped", "frozen", "stuck"}) | ELSEWHERE
FRAMES, LINES = 5, 15  # of a stack and of a traceback that are shown
STOPS: dict[int, int] = {
    signal.SIGTERM: REQUEUE,
    signal.SIGUSR1: REQUEUE,
    signal.SIGHUP: REQUEUE,
    signal.SIGINT: INTERRUPTED,
}
HINTS: dict[int, str] = {
    signal.SIGKILL: ", perhaps by the kernel for want of memory: dmesg tells",
    signal.SIGBUS: ", perhaps for want of room in /dev/shm or on a disk",
}
WHERE = {
    "start": "in step {step}",
    "data": "while it waited for data after step {step}",
    "step": "in step {step}",
    "save": "while it saved step {step}",
    "show": "while it sampled at step {step}",
    "failed": "in step {step}",
    "end": "when it ended after step {step}",
}


@dataclass(frozen=True, kw_only=True)
class Cause:
    """How a rank ended or fails to go on; `name` is what two equal causes share, `text` follows "rank 1 "."""

    rank: int | None
    kind: Kind
    name: str
    text: str
    code: int
    time: float
    beat: Beat
    frames: tuple[str, ...] = ()
    traceback: str = ""

    @property
    def failed(self) -> bool:
        """Whether it is a crash or a hang, and not an end by intent or by the end of another rank."""
        return self.kind in FAILED

    def same(self, other: Cause | None) -> bool:
        """Whether `other` is the same failure in the same step: one that a restart does not mend."""
        return other is not None and self.beat.step > 0 and (self.name, self.place) == (other.name, other.place)

    @property
    def shown(self) -> str:
        """Where it happened, for a person: the end of the traceback, or the innermost frames."""
        lines = self.traceback.rstrip().splitlines()
        if len(lines) > LINES:
            lines = ["Traceback (its end):", *lines[-LINES:]]
        return "\n".join(lines or [f"  {frame}" for frame in self.frames[:FRAMES]])

    @property
    def place(self) -> tuple[str, int]:
        """What it was doing, and in which step."""
        return ("step" if self.beat.phase in {"start", "failed"} else self.beat.phase, self.beat.step)


def where(beat: Beat) -> str:
    """What a rank was doing, in words."""
    if beat.step == 0:
        return "at the start"
    return WHERE[beat.phase].format(step=beat.step)


def of(folder: Path, *, rank: int, code: int | None, time: float, said: str) -> Cause:
    """Why a rank ended with `code` at `time`, having last `said` something on standard error.

    A rank that has not ended (None) has written down what it fails of.
    """
    beat = heartbeat.read(heartbeat.beat_file(folder, rank))
    at = where(beat)
    if (record := report.read(folder, rank)) is not None:
        kind: Kind = record.kind
        what = f"{record.name}: {record.text}" if record.text else record.name
        text = record.text if kind in {"mistake", "node"} else f"failed {at}: {what}"
        own = {"mistake": USER_ERROR, "consequence": 1, "node": BAD_NODE}.get(
            record.kind, code if code and code > 0 else 1
        )
        trace = record.traceback if kind != "node" else ""
        return Cause(
            rank=rank, kind=kind, name=record.name, text=text, code=own, time=record.time, beat=beat, traceback=trace
        )
    if code is not None and code < 0:
        return _by_signal(folder, rank=rank, number=-code, time=time, beat=beat, said=said)
    kind, name = _by_code(code or 0)
    text = f"ended {at} with exit code {code}"
    return Cause(rank=rank, kind=kind, name=name, text=text, code=code or 0, time=time, beat=beat)


def _by_code(code: int) -> tuple[Kind, str]:
    if code in {REQUEUE, INTERRUPTED}:
        return "stop", AGREED
    kinds: dict[int, Kind] = {0: "done", USER_ERROR: "mistake"}
    return kinds.get(code, "exit"), f"exit code {code}"


def _by_signal(folder: Path, *, rank: int, number: int, time: float, beat: Beat, said: str) -> Cause:
    if number in STOPS:
        text = f"was ended by signal {number}"
        return Cause(rank=rank, kind="stop", name="alone", text=text, code=STOPS[number], time=time, beat=beat)
    name = next((item.name for item in signal.Signals if item == number), f"signal {number}")
    for_peer = number == signal.SIGABRT and report.PEER.search(said)
    path = heartbeat.stack_file(folder, rank)
    dump = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return Cause(
        rank=rank,
        kind="consequence" if for_peer else "signal",
        name=name,
        text=f"was ended by {name} {where(beat)}{HINTS.get(number, '')}",
        code=128 + number,
        time=time,
        beat=beat,
        frames=tuple(stacks.main_thread(dump)) if stacks.FATAL in dump else (),
    )


def first(causes: list[Cause]) -> Cause | None:
    """What decides how a group ended: a bad node, the first failure, a mistake, a stop, or what follows from others."""
    for kinds in ({"node"}, FAILED, {"mistake"}, {"stop"}, {"consequence"}):
        found = [item for item in causes if item.kind in kinds]
        if found:
            return (
                max(found, key=lambda item: item.code) if kinds == {"stop"} else min(found, key=lambda item: item.time)
            )
    return None
