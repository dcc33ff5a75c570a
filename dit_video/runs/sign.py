"""RUN/state.json: what the first rank says of itself while it lives, and at last how it ended.

Its age is the sign of life. It is replaced as a whole, and is lost by nobody who is killed: what it says of the
progress is what metrics.csv and the checkpoints say.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from dit_video import whole

NAME = "state.json"
EVERY = 5.0  # seconds between two signs of life
How = Literal["done", "short", "stopped", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True)
class End:
    """How a training ended, and of what; `short` is by a setting of trainer.*, `time` in seconds since 1970."""

    how: How
    time: float
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What is known of the process that trains; times in seconds since 1970.

    `samples` is the length of the run, `resumed` the step from which this process went on, `stepped` when it completed
    a step last. `parent` is who starts it again after a crash, as `identity` has it. `job` and `nodes` are SLURM's.
    """

    name: str
    kind: str
    samples: int
    host: str
    process: int
    parent: str | None
    ranks: int
    job: str | None
    nodes: str | None
    command: str | None
    folder: str
    began: float
    resumed: int
    step: int
    samples_seen: int
    stepped: float | None = None
    ended: End | None = None


def write(run: Path, sign: Sign) -> None:
    """Replace the file in the folder of the run."""
    whole.write(run / NAME, json.dumps(asdict(sign)) + "\n")


def read(run: Path) -> Sign | None:
    """What a run last said, or None where it has said nothing; ValueError for a file that is damaged."""
    try:
        given = json.loads((run / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(given, dict):
        raise ValueError("it is no object")
    ended = given.get("ended")
    end = None if ended is None else End(**checked(End, ended))
    return Sign(**checked(Sign, {**given, "ended": end}))


def checked(kind: type, given: Any) -> dict[str, Any]:
    """The fields of a dataclass `kind` that are given; ValueError where one is missing or of another type."""
    if not isinstance(given, dict):
        raise ValueError("it is no object")
    found = {}
    for name, hint in types(kind).items():
        if name not in given:
            raise ValueError(f"{name} is missing")
        value = given[name]
        if value not in get_args(hint) if hint is How else not isinstance(value, hint):
            raise ValueError(f"{name} is {value!r}")
        found[name] = value
    return found


@functools.cache
def types(kind: type) -> dict[str, Any]:
    """The types of a dataclass' fields."""
    return get_type_hints(kind)


def identity(process: int) -> str | None:
    """A process and when it began, which no later process of the same number shares; None where there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return str(process) if not Path("/proc/self").exists() and exists(process) else None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else f"{process}-{rest[18]}"


def exists(process: int) -> bool:
    """Whether there is a process of that number, anyone's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lives(identified: str) -> bool:
    """Whether the process that `identity` has named is still there, on this machine."""
    return identity(int(identified.partition("-")[0])) == identified
