"""What the stacks of ranks that wait say: who does not wait for the others is who they wait for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FRAME = re.compile(r'^ +File "(?P<path>.*)", line (?P<line>\d+|\?\?\?) in (?P<name>.*)$')
FATAL = "Fatal Python error:"
WAITING = re.compile(
    r"/torch/distributed/|/torch/autograd/(graph|__init__)\.py|/torch/nn/parallel/|/dit_video/parallel/agree\.py"
)
DEPTH = 2  # innermost frames that tell


@dataclass(frozen=True, kw_only=True)
class Blame:
    """The rank that the others wait for, if it shows, and how it shows."""

    rank: int | None
    why: str


def main_thread(dump: str) -> list[str]:
    """Frames `path:line name` of the main thread in a dump of faulthandler's, innermost first; the last fatal one."""
    found: list[list[str]] = []
    for line in dump.rpartition(FATAL)[2].splitlines():
        if line.endswith("(most recent call first):"):
            found.append([])
        elif (frame := FRAME.match(line)) and found:
            found[-1].append(f"{frame['path']}:{frame['line']} {frame['name']}")
    frames = [item for item in found if item]
    return next((item for item in frames if item[-1].endswith(" <module>")), frames[0] if frames else [])


def waits(frames: Sequence[str]) -> bool:
    """Whether a main thread waits for other ranks; a backward pass counts, since it ends with an exchange."""
    return any(WAITING.search(frame) for frame in frames[:DEPTH])


def blame(frames: Mapping[int, Sequence[str]], steps: Mapping[int, int]) -> Blame:
    """Who the ranks of these stacks wait for: the one that waits for none, else the one that is behind in steps."""
    if (rank := _busy(frames)) is not None:
        return Blame(rank=rank, why="the others wait for it")
    if (rank := _behind(steps)) is not None:
        return Blame(rank=rank, why="it is behind the others")
    return Blame(rank=None, why="the stacks do not tell for which rank")


def _busy(frames: Mapping[int, Sequence[str]]) -> int | None:
    busy = [rank for rank, stack in frames.items() if stack and not waits(stack)]
    return busy[0] if len(busy) == 1 and len(frames) > 1 else None


def _behind(steps: Mapping[int, int]) -> int | None:
    last = [rank for rank, step in steps.items() if step == min(steps.values())]
    return last[0] if len(last) == 1 and len(steps) > 1 else None
