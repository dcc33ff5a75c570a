"""Processes that may be killed: a decoder that crashes, hangs or eats memory costs its file, not the run.

Each task runs in a process of its own and reports every item before it touches it. A process that dies or
goes silent is started again with that item in `skip`.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from dit_video.errors import DataError, UserError

STARTING = 300.0  # seconds a process may take to its first item: it imports what it needs
Report = Callable[[str], None]
Work = Callable[[Any, Mapping[str, str], Report], None]
"""`work(task, skip, report)`: does one task, calls `report(item)` before each item; `skip` gives reasons by item.

It may raise `Again` to be called once more with the same, in a fresh process; it must have come further by then.
"""


class Again(Exception):  # noqa: N818
    """A task asks to go on in a fresh process: this one has leaked, or its memory is out."""


@dataclass
class Job:
    """A running process and what it was last seen at."""

    task: Any
    process: BaseProcess
    pipe: Connection
    skip: dict[str, str] = field(default_factory=dict)
    item: str = ""
    seen: float = 0.0


def limit_memory(gigabytes: float) -> None:
    """Let allocations beyond `gigabytes` of address space fail in this process."""
    import resource

    limit = int(gigabytes * 2**30)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def child(work: Work, task: object, skip: dict[str, str], pipe: Connection, memory_gb: float) -> None:
    """Body of a worker process."""
    import cv2

    cv2.setNumThreads(0)
    limit_memory(memory_gb)
    try:
        work(task, skip, lambda item: pipe.send(("at", item)))
        pipe.send(("done", ""))
    except Again:
        pipe.send(("again", ""))
    except UserError as error:
        pipe.send(("mistake", str(error)))
    except BaseException:
        pipe.send(("error", traceback.format_exc()))


def start(work: Work, task: object, skip: dict[str, str], *, memory_gb: float) -> Job:
    """Start a process for a task."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["datamodules.prepare.curate", "datamodules.prepare.curation.clip", "pyarrow.parquet"]
    )
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(work, task, skip, theirs, memory_gb), daemon=True)
    process.start()
    theirs.close()
    return Job(task=task, process=process, pipe=ours, skip=skip, seen=time.monotonic())


def failed(job: Job, *, alive: bool, seconds: float) -> str | None:
    """Why a job must be started again without its last item, if it must; `alive` was asked before its last message."""
    if time.monotonic() - job.seen > (seconds if job.item else max(seconds, STARTING)):
        return f"took longer than {seconds:.0f} seconds"
    if not alive:
        return f"the decoder crashed (exit code {job.process.exitcode})"
    return None


def messages(job: Job) -> Iterator[tuple[str, str]]:
    """What a job has said since it was last asked."""
    try:
        while job.pipe.poll():
            yield job.pipe.recv()
    except (EOFError, OSError):
        return


def end(job: Job) -> None:
    """Stop a job's process for good."""
    job.process.kill()
    job.process.join()
    job.pipe.close()


def unprotected(work: Work, task: object) -> list[str]:
    """Do a task in this process; its items in the order of their beginning."""
    items: dict[str, None] = {}
    while True:
        try:
            work(task, {}, lambda item: items.update({item: None}))
        except Again:
            continue
        return list(items)


def run(work: Work, tasks: Sequence[Any], *, processes: int, seconds: float, memory_gb: float) -> Iterator[str]:
    """Do all tasks, `processes` at a time, and yield items as they are begun (0 processes: in this one, unprotected).

    An item that takes longer than `seconds`, or whose process dies, is skipped: its task starts again.
    """
    if processes == 0:
        for task in tasks:
            yield from unprotected(work, task)
        return
    waiting: list[tuple[Any, dict[str, str]]] = [(task, {}) for task in tasks]
    jobs: list[Job] = []
    counted: set[str] = set()
    try:
        while waiting or jobs:
            while waiting and len(jobs) < processes:
                jobs.append(start(work, *waiting.pop(0), memory_gb=memory_gb))
            wait([job.pipe for job in jobs], timeout=0.5)
            for job in list(jobs):
                alive = job.process.is_alive()
                for kind, text in messages(job):
                    job.seen = time.monotonic()
                    if kind == "at":
                        job.item = text
                        if text not in counted:
                            counted.add(text)
                            yield text
                    elif kind == "mistake":
                        raise DataError(text)
                    elif kind == "error":
                        raise RuntimeError(f"a worker failed at {job.item}:\n{text}")
                    else:
                        end(job)
                        jobs.remove(job)
                        if kind == "again":
                            waiting.insert(0, (job.task, job.skip))
                if job in jobs and (reason := failed(job, alive=alive, seconds=seconds)):
                    end(job)
                    jobs.remove(job)
                    if not job.item or job.item in job.skip:
                        raise DataError(f"a worker died before its first file: {reason}")
                    waiting.insert(0, (job.task, job.skip | {job.item: reason}))
    finally:
        for job in jobs:
            end(job)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
