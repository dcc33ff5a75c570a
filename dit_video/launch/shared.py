"""What the parents of a job's tasks tell one another, by files in a folder that all nodes see.

- A parent writes that its ranks have begun, and how they ended (`Ending`): what the batch job does next is decided from
  all of these, by `dit_video.slurm.settle`. A rank that has begun and not ended was lost with its node or its parent.
- Where a rank has failed, its parent raises an alarm: the ranks of the others wait for it, and are ended too.
- A file that is there (DIT_VIDEO_STOP) is a signal to stop which reaches Python in any container.
- SLURM starts a job again when it has given up a node, whose processes may live on behind a link that is cut. What sees
  the folder of a later start beside its own ends, and saves no more.
- Folders are listed, not files asked for: a network file system may go on saying for a minute that a file is not there.
  What is looked for every two seconds by every task stands in a folder of its own, which stays short.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dit_video import whole
from dit_video.config.mistakes import USER_ERROR
from dit_video.launch import report
from dit_video.launch.cause import Cause
from dit_video.launch.heartbeat import BEGINNING, Beat

ATTEMPT, STOP = "DIT_VIDEO_ATTEMPT", "DIT_VIDEO_STOP"
SIGNS, ALARM, QUIET = "signs", "failed", "quiet-"
RESTARTS = 3  # where nobody has said how many
EVERY = 2.0  # seconds between two looks


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a rank of `size` ended on `node`; times in seconds since 1970, None while it goes on.

    Without a `cause` it was ended for the sake of another; `frames` are what its main thread did then.
    """

    rank: int
    size: int
    node: str
    restarts: int
    began: float
    ended: float | None = None
    detected: float | None = None
    cause: Cause | None = None
    beat: Beat = BEGINNING
    frames: tuple[str, ...] = ()


@dataclass
class Shared:
    """The folder of this start of a job with `size` ranks, and the file that stops it, where there are such."""

    attempt: Path | None = None
    stop: Path | None = None
    size: int = 1
    looked: float = -EVERY
    found: frozenset[str] = frozenset()
    silent: bool = False

    @property
    def signs(self) -> Path | None:
        """Where all tasks look."""
        return self.attempt and self.attempt / SIGNS

    def look(self, now: float) -> frozenset[str]:
        """What holds: "stop", "alarm", "later" where the job has been started again, and "quiet" where every rank is;
        looked for every two seconds.
        """
        if now - self.looked >= EVERY:
            self.looked = now
            names = listed(self.signs)
            quiet = sum(name.startswith(QUIET) for name in names) >= self.size
            asked = self.stop is not None and self.stop.name in listed(self.stop.parent)
            holds = {"stop": asked, "alarm": ALARM in names or "alarm" in self.found, "quiet": quiet}
            holds["later"] = bool(later(self.attempt))
            self.found = frozenset(name for name, held in holds.items() if held)
        return self.found

    def quiet(self, ranks: Iterable[int], *, on: bool) -> None:
        """Note that these ranks go on with nothing, though they are in a step, or that they do again."""
        if self.signs is None or on == self.silent:
            return
        self.silent = on
        with suppress(OSError):
            self.signs.mkdir(exist_ok=True, parents=True)
            for path in (self.signs / f"{QUIET}{rank}" for rank in ranks):
                path.touch() if on else path.unlink(missing_ok=True)

    def alarm(self) -> None:
        """Tell the other parents that a rank has failed here."""
        if self.signs is not None and "alarm" not in self.found:
            self.found |= {"alarm"}
            with suppress(OSError):
                self.signs.mkdir(exist_ok=True, parents=True)
                (self.signs / ALARM).touch()

    def write(self, endings: Iterable[Ending], pages: Mapping[int, str] | None = None) -> None:
        """Note how ranks stand, and all that is known of them as text; a full disk may be why they ended."""
        with suppress(OSError):
            for item in endings if self.attempt is not None else ():
                assert self.attempt is not None
                self.attempt.mkdir(parents=True, exist_ok=True)
                for rank, text in (pages or {}).items():
                    (self.attempt / f"rank-{rank}.txt").write_text(text, encoding="utf-8")
                whole.write(self.attempt / f"rank-{item.rank}.json", json.dumps(asdict(item)))


def node() -> str:
    """What the cluster calls this machine."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def of(size: int, *, environment: Mapping[str, str] = os.environ) -> Shared:
    """What the batch script has named, if one has."""
    attempt, stop = environment.get(ATTEMPT), environment.get(STOP)
    return Shared(attempt=Path(attempt) if attempt else None, stop=Path(stop) if stop else None, size=size)


@contextmanager
def alarming(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Where a task of a job fails in the block before its rank begins, that is noted, and the others do not wait."""
    try:
        yield
    except BaseException as error:
        found = error.__context__ if isinstance(error, SystemExit) else error
        if isinstance(found, Exception) and environment.get(ATTEMPT):
            size = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
            own = of(size, environment=environment)
            own.write([failed(found, rank=int(environment.get("SLURM_PROCID", "0")), size=size, node=node())])
            own.alarm()
        raise


def failed(error: Exception, *, rank: int, size: int, node: str) -> Ending:
    """How a task ends whose rank has not begun: of a mistake, or of a bug."""
    record, now = report.of(error, rank=rank), time.time()
    mistake = record.kind == "mistake"
    found = Cause(
        rank=rank,
        kind=record.kind,
        name=record.name,
        text=record.text if mistake else f"failed before it began: {record.name}: {record.text}",
        code=USER_ERROR if mistake else 1,
        time=now,
        beat=BEGINNING,
        traceback="" if mistake else record.traceback,
    )
    return Ending(rank=rank, size=size, node=node, restarts=RESTARTS, began=now, ended=now, detected=now, cause=found)


def later(attempt: Path | None) -> str:
    """The last start of the same job after that of this folder, JOB-RESTARTS; "" where there is none, or no job."""
    job, number = split(attempt.name) if attempt is not None else ("", -1)
    starts = [split(name) for name in listed(attempt.parent)] if attempt is not None and job else []
    newest = max((start for own, start in starts if own == job), default=-1)
    return f"{job}-{newest}" if newest > number else ""


def split(name: str) -> tuple[str, int]:
    """Job and restarts of a start's name; ("", -1) for another name."""
    job, _, number = name.rpartition("-")
    return (job, int(number)) if job and number.isdecimal() else ("", -1)


def listed(folder: Path | None) -> list[str]:
    """The names in a folder; none where it is not there."""
    with suppress(OSError):
        return [] if folder is None else os.listdir(folder)  # noqa: PTH208 - names alone
    return []


def read(path: Path) -> Ending:
    """An ending as it was written."""
    return ending(json.loads(path.read_text(encoding="utf-8")))


def ending(row: Mapping[str, Any]) -> Ending:
    """An ending from what stands in its file."""
    own: dict[str, Any] = {**row, "beat": Beat(*row["beat"]), "frames": tuple(row["frames"])}
    if (found := row["cause"]) is not None:
        own["cause"] = Cause(**{**found, "beat": Beat(*found["beat"]), "frames": tuple(found["frames"])})
    return Ending(**own)
