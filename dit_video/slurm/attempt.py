"""One start of a job, in a folder of its own (DIT_VIDEO_ATTEMPT): what the parents of its ranks write there."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from dit_video.errors import ConfigError
from dit_video.launch import cause, restarts, shared, stacks
from dit_video.launch.cause import Cause, Kind
from dit_video.launch.heartbeat import BEGINNING
from dit_video.launch.shared import Ending

VERDICT = "verdict"
IDLE = 8  # starts in a row that have saved nothing, and the job is no use
BACK = "SLURM put the job back into the queue"
REQUEUED = "requeued"  # the kind of a row for a start that SLURM itself took back


@dataclass(frozen=True)
class Attempt:
    """What the ranks have written in the `folder` JOB-RESTARTS of one start of a job."""

    folder: Path
    endings: tuple[Ending, ...]

    @property
    def job(self) -> str:
        """The job's number."""
        return self.folder.name.rpartition("-")[0]

    @property
    def start(self) -> int:
        """How often the job had been started before."""
        return int(self.folder.name.rpartition("-")[2])

    @property
    def began(self) -> float:
        """When the first rank began; when the folder was made, or now, where none has."""
        made = self.folder.stat().st_mtime if self.folder.is_dir() else time.time()
        return min((item.began for item in self.endings), default=made)

    @property
    def nodes(self) -> list[str]:
        """The nodes that have begun."""
        return sorted({item.node for item in self.endings})

    @cached_property
    def lost(self) -> list[Ending]:
        """Ranks that have begun and said no more: their node is gone, or their parent was killed."""
        return [item for item in self.endings if item.ended is None]

    @property
    def absent(self) -> list[int]:
        """Ranks that have not even begun."""
        there = {item.rank for item in self.endings}
        return [rank for rank in range(max((item.size for item in self.endings), default=0)) if rank not in there]

    def node(self, rank: int | None) -> str:
        """The node of a rank, "" where it is not known."""
        return next((item.node for item in self.endings if item.rank == rank), "")

    def first(self) -> Cause | None:
        """What came first, and so decides how the start ended; None if all is done."""
        causes = [item.cause for item in self.endings if item.cause is not None]
        clear = [item for item in causes if item.failed and item.kind != "stuck"]
        if found := cause.first(clear) or cause.first([item for item in causes if item.kind == "mistake"]):
            return found
        if self.lost:  # of which those that have begun may have been ended for one that has not
            return self.gone(self.absent or [item.rank for item in self.lost])
        if stuck := [item for item in causes if item.kind == "stuck"]:
            return self.blamed(min(stuck, key=lambda item: item.time))
        stops = [item for item in causes if item.kind == "stop"]
        if self.absent and not stops:
            return self.gone(self.absent)
        return cause.first(causes) or self.unknown()

    def gone(self, ranks: Sequence[int]) -> Cause:
        """The first of the ranks of which nothing is known, and the others with it."""
        who, beat = ranks[0], max((item.beat for item in self.endings), key=lambda item: item.step, default=BEGINNING)
        others = f" (nor rank {', '.join(map(str, ranks[1:9]))}{' ...' * (len(ranks) > 9)})" if len(ranks) > 1 else ""
        text = f"has said no more {cause.where(beat)}{others}: its node was lost, or what watched it there was killed"
        if who in self.absent:
            text = f"has not begun{others}"
        return Cause(rank=who, kind="gone", name="gone", text=text, code=1, time=time.time(), beat=beat)

    def blamed(self, found: Cause) -> Cause:
        """The rank for which the others wait, of ranks that have all stopped to go on."""
        stuck = {item.rank: item.cause.frames for item in self.endings if item.cause and item.cause.kind == "stuck"}
        frames = {item.rank: stuck.get(item.rank, item.frames) for item in self.endings}
        blame = stacks.blame(frames, {item.rank: item.beat.done for item in self.endings})
        beats = {item.rank: item.beat for item in self.endings}
        who = found.rank if blame.rank is None and len(stuck) == 1 else blame.rank
        own = frames[who] if who is not None else found.frames
        beat = beats[who] if who is not None else found.beat
        return replace(found, rank=who, text=f"{found.text}: {blame.why}", beat=beat, frames=own)

    def unknown(self) -> Cause | None:
        """A rank that was ended for the sake of another, where nobody says for whose; None where there is none."""
        ended = [item for item in self.endings if item.cause is None]
        if not ended:
            return None
        one = ended[0]
        text = f"was ended for another {cause.where(one.beat)}, and none says why"
        return Cause(rank=one.rank, kind="exit", name="unknown", text=text, code=1, time=one.began, beat=one.beat)


def read(folder: Path) -> Attempt:
    """The start whose folder this is; what another version of the code has written in another way is left out."""
    found = []
    for path in folder.glob("rank-*.json"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            found.append(shared.read(path))
    return Attempt(folder, tuple(sorted(found, key=lambda item: item.rank)))


def unheard(kind: Kind, *, text: str, code: int) -> Cause:
    """The cause of an end of which no rank has written anything."""
    return Cause(rank=None, kind=kind, name=kind, text=text, code=code, time=time.time(), beat=BEGINNING)


def look_back(*, run: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Write into the run's table which earlier starts of this job SLURM itself took back: they have no verdict.

    ConfigError where the last starts, one after the other, have saved nothing.
    """
    if shared.ATTEMPT not in environment:
        return
    folder = Path(environment[shared.ATTEMPT])
    starts, job = earlier(folder), shared.split(folder.name)[0]
    noted = {row.get("start") for row in restarts.table(run) if row.get("job") == job}
    for place in starts:
        if shared.split(place.name)[1] in noted or (place / VERDICT).exists():
            continue
        start = read(place)
        first = start.first()
        if first is None or first.kind != "stop":
            restarts.append(run, requeued(start, run=run))
    if why := fruitless(starts, run=run):
        raise ConfigError(why)


def earlier(folder: Path) -> list[Path]:
    """The folders of the starts of the same job before that of `folder`, the oldest first."""
    job, number = shared.split(folder.name)
    places = [folder.with_name(f"{job}-{before}") for before in range(number)]
    return [place for place in places if place.is_dir()]


def fruitless(starts: Sequence[Path], *, run: Path) -> str:
    """Why a job whose starts have these folders is not to start again: the last of them have saved nothing.

    "" where it may. Steps do not count: without a checkpoint they are all done again, in the next start too.
    """
    if len(starts) < IDLE or restarts.newest(run)[1] > read(starts[-IDLE]).began:
        return ""
    return (
        f"the last {IDLE} starts of job {shared.split(starts[-1].name)[0]} ended before they had saved a checkpoint; "
        "give it more time (run.submit.time) or a queue that preempts less, save more often, and submit it again"
    )


def requeued(attempt: Attempt, *, run: Path) -> dict[str, object]:
    """The row for a start that SLURM ended and put back into the queue."""
    lost = sorted({item.node for item in attempt.lost})
    some = bool(lost) and len(attempt.lost) < len(attempt.endings)
    step, saved = restarts.newest(run)
    beat = max((item.beat for item in attempt.endings), key=lambda item: item.step, default=BEGINNING)
    why = f"{BACK}; nothing was heard of {', '.join(lost)} any more"
    return {
        "time": restarts.moment(time.time()),
        "detected": time.time(),
        "attempt": attempt.start + 1,
        "host": lost[0] if some else "",
        "rank": attempt.lost[0].rank if some else None,
        "kind": REQUEUED,
        "cause": why if some else f"{BACK}: preempted beyond its grace, or its nodes lost",
        "step": max(beat.step, step),  # a rank that is killed with its parent tells of none
        "done": beat.done,
        "resumes_at": max(step, 0),
        "seconds_lost": round(max(time.time() - max(saved, attempt.began), 0.0), 3),
        "restarted": True,
        "kept": str(attempt.folder),
        "job": attempt.job,
        "start": attempt.start,
        "nodes": attempt.nodes,
        "excluded": [],
    }
