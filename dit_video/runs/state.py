"""How a run stands: decided from its lock, its sign of life, its failures, and what SLURM says of its jobs.

- A lock that is held means a process that lives, except where the machine that held it is lost: a file server may keep
  that for long. So from another machine a sign of life is asked for too.
- A lock that is free means none that trains now: it may be between two attempts, wait in a queue, or have ended. Where
  a mount has no locks, another machine's sign of life stands for it.
- A process that ends by itself says how. One that is killed says nothing: it has a free lock and no end.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dit_video.runs import sign, text
from dit_video.runs.record import Record
from dit_video.slurm.attempt import REQUEUED
from dit_video.slurm.client import Job

Word = Literal["running", "queued", "requeued", "stopped", "done", "failed", "cancelled", "lost"]
SILENT = 120.0  # seconds without a sign of life that are worth a word; without a lock either, it is none
LOST = 300.0  # seconds after which another machine's lock alone is no sign of life
STILL = 300.0  # seconds without a step that are worth a word
FAILED = frozenset({"FAILED", "OUT_OF_MEMORY", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL"})


@dataclass(frozen=True, kw_only=True)
class State:
    """A run's state in a word, why it is that, where it runs, and whether the process has completed a step."""

    word: Word
    why: str = ""
    hosts: str = ""
    started: bool = False


def judge(record: Record, *, jobs: Mapping[str, Job], now: float) -> State:
    """The state of a run at `now`, with the jobs of it that SLURM knows."""
    mine = [jobs[name] for name in record.jobs if name in jobs]
    live = next((job for job in reversed(mine) if not job.over), None)
    if (found := holding(record, jobs=mine, now=now)) is not None:
        return found
    if live is not None and live.state == "PENDING":
        return queued(record, live)
    if record.complete and not failed_since(record, mine[-1] if mine else None):
        return State(word="done")
    if live is not None:
        return State(word="running", why=between(record, live), hosts=live.nodes)
    if (found := attempted(record, now=now)) is not None:
        return found
    return ended(record, mine[-1] if mine else None)


def holding(record: Record, *, jobs: Sequence[Job], now: float) -> State | None:
    """The state where a process holds the lock, or shows that it lives on a mount without locks; else None.

    Where SLURM knows its `jobs`, it knows better than the last sign of life whether they run.
    """
    own, lock, host = record.sign, record.lock, socket.gethostname()
    newer = lock is not None and (own is None or (lock.process, lock.host) != (own.process, own.host))
    if own is not None and own.ended is not None and not newer:
        return None  # it has said how it ended, and leaves
    where = lock.host if lock is not None and newer else own.host if own is not None else ""
    silent = now - record.seen
    if lock is None or not lock.held:
        away = own is not None and own.ended is None and where != host and silent < SILENT and not jobs
        here = own is not None and not newer and where == host and sign.exists(own.process)
        if not (away or (here and lock is not None and lock.held is None)):
            return None
    elif where != host and silent > LOST and not any(job.state == "RUNNING" for job in jobs):
        if any(not job.over for job in jobs):
            return None
        return State(word="lost", why=f"no sign of life from {where} for {text.span(silent)}", hosts=where)
    return running(record, hosts=where, starting=newer, now=now)


def running(record: Record, *, hosts: str, starting: bool, now: float) -> State:
    """A run that lives, and what may be worth a look."""
    own, silent = record.sign, now - record.seen
    nodes = own.nodes if own is not None and own.nodes and not starting else hosts
    started = own is not None and own.stepped is not None and not starting
    if silent > SILENT:
        why = f"no sign of life for {text.span(silent)}"
    elif own is not None and started and now - (own.stepped or now) > STILL:
        why = f"no step for {text.span(now - (own.stepped or now))}"
    elif own is not None and not started:
        why = "starting"
    else:
        why = ""
    return State(word="running", why=why, hosts=nodes, started=started)


def between(record: Record, job: Job) -> str:
    """What a job does while nobody trains in it: it starts, or its ranks have ended just now."""
    own = record.sign.ended if record.sign is not None else None
    if own is None or job.started is None or own.time < job.started.timestamp():
        return "starting"
    return f"{own.text or 'it was stopped, and saved'}; job {job.id} sees to what follows"


def queued(record: Record, job: Job) -> State:
    """A run whose job waits: for the first time, or again."""
    again = job.restarts > 0 or bool(record.checkpoints) or record.sign is not None
    reason = f": {job.reason}" if job.reason else ""
    if not again:
        return State(word="queued", why=f"job {job.id} waits{reason}")
    before = f" after {cause(record)}" if job.restarts and cause(record) else ""
    return State(word="requeued", why=f"job {job.id} waits to start again{before}{reason}")


def attempted(record: Record, *, now: float) -> State | None:
    """A run whose parent lives, and sees to what has happened to its ranks."""
    own = record.sign
    if own is None or own.parent is None or (own.ended is not None and own.ended.how != "failed"):
        return None
    last = record.restarts[-1] if record.restarts else {}
    told = moment(last) >= record.began
    here = own.host == socket.gethostname()
    if not (sign.lives(own.parent) if here else told and last.get("restarted") and now - moment(last) < SILENT):
        return None
    why = f"starting again after {cause(record)}" if told else "its first rank has ended, its parent lives"
    return State(word="running", why=why, hosts=own.host)


def failed_since(record: Record, job: Job | None) -> bool:
    """Whether a job was to go on with a run that had said how it ended, and failed before it trained."""
    own = record.sign.ended if record.sign is not None else None
    began = job.started or job.ended if job is not None and job.state in FAILED else None
    if job is None and record.verdict is not None and record.verdict.failed:  # SLURM has forgotten it
        began = submitted(record, record.verdict.job)
    return own is not None and began is not None and began.timestamp() > own.time


def submitted(record: Record, job: str) -> datetime | None:
    """When a job was submitted; None where that is not written down."""
    said = next((row.get("time") for row in record.submitted if row.get("job") == job), None)
    return datetime.fromisoformat(said) if isinstance(said, str) else None


def ended(record: Record, job: Job | None) -> State:
    """A run that nobody works on, and how that came: by the last that is known of it."""
    own = record.sign.ended if record.sign is not None else None
    last = record.restarts[-1] if record.restarts else {}
    past = job is None or (job.ended is not None and job.ended.timestamp() < record.began)  # it went on without the job
    if job is not None and job.state == "CANCELLED" and not past:
        return State(word="cancelled", why=f"job {job.id} was cancelled")
    if last and not last.get("restarted") and moment(last) >= record.began:
        refusal = f"; not started again: {last['refusal']}" if last.get("refusal") else ""
        return State(word="failed", why=f"{cause(record)}{refusal}")
    if job is None and (found := settled(record)) is not None:
        return found
    if own is not None and (past or job is None or job.started is None or own.time >= job.started.timestamp()):
        why = {"stopped": "it was stopped by a signal, and saved", "interrupted": "it was interrupted"}
        return State(word="failed" if own.how == "failed" else "stopped", why=why.get(own.how, own.text))
    if job is not None and not past:
        ends = f"job {job.id} ended: {job.state}, exit code {job.code}"
        why_not = record.verdict.why if record.verdict is not None else ends
        return State(word="failed" if job.state in FAILED else "stopped", why=why_not)
    if record.sign is None and not record.rows.steps and not record.checkpoints:
        return State(word="stopped", why="it has not trained yet")
    where = f" on {record.sign.host}" if record.sign is not None else ""
    before = f" after {cause(record)}" if last and moment(last) >= record.began else ""
    return State(word="stopped", why=f"it ended{where} without a word, as one that was killed{before}")


def settled(record: Record) -> State | None:
    """A run whose job SLURM has forgotten, by what was decided at its end; None where it went on without it since."""
    found = record.verdict
    if found is None or found.time < record.began:
        return None
    if not found.ends:
        why = f"{found.why}, but SLURM no longer knows job {found.job}, as one that was cancelled"
        return State(word="stopped", why=why)
    return State(word="failed", why=found.why) if found.failed else None


def cause(record: Record) -> str:
    """The last failure that was written down: who, and of what."""
    return told(record.restarts[-1]) if record.restarts else ""


def told(row: Mapping[str, object]) -> str:
    """A row of restarts.jsonl in words: a rank and its failure, or what SLURM has done."""
    text = str(row.get("cause", "?"))
    if row.get("kind") == REQUEUED:
        return text
    where = f" on {row['host']}" if row.get("host") else ""
    who = "a rank" if row.get("rank") is None else f"rank {row['rank']}"
    return f"{who}{where} {text}"


def moment(row: Mapping[str, object]) -> float:
    """When a failure of restarts.jsonl was noticed."""
    value = row.get("detected")
    return float(value) if isinstance(value, int | float) else 0.0
