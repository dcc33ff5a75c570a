"""Decides what follows when the ranks of a job have ended: `python -m dit_video.slurm.settle`, one short task of it.

It reads what all ranks have written (`attempt`), tells in one line what came first, keeps it in RUN/restarts.jsonl, and
writes a verdict that the batch script carries out:

- `exit 0` done; `exit 2` a user's mistake; `exit 130` ctrl-C.
- `requeue 75`: stopped by a signal, saved; nothing is counted but starts in a row that saved nothing.
- `requeue CODE SECONDS NODES`: a failure within the budget `run.restarts`: restarts in a row without a newer
  checkpoint. The same failure twice in a row in the same step, or none left, is `exit 1`, or the failure's code.
- A node that fails its pre-flight (76), or whose rank was frozen or stopped, is excluded, unless others say the same
  and are half of all: that is what they share. One whose rank hung, or that was lost, is the second time.

Without a verdict the batch script requeues what ended with 75, and ends with the code of anything else.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_video import log, whole
from dit_video.config.mistakes import INTERRUPTED, USER_ERROR
from dit_video.launch import restarts, shared
from dit_video.launch.cause import Cause, Kind
from dit_video.launch.restarts import Budget
from dit_video.launch.supervise import CLASHES, port_taken
from dit_video.signals import REQUEUE
from dit_video.slurm import attempt
from dit_video.slurm.attempt import Attempt

DELAYS = (0, 30, 60, 120)  # seconds before a restart; SLURM's own delay comes first
STOPPED = frozenset({REQUEUE, 128 + 10, 128 + 15})  # of a task that SIGUSR1 or SIGTERM ended before it was Python
AT_ONCE, LATER = frozenset({"node", "frozen", "stopped"}), frozenset({"stuck", "gone"})
FIELD = re.compile(r"(\w+)=(\S*)")


@dataclass(frozen=True)
class Verdict:
    """What the batch script does, with which exit code, after how many seconds, without which nodes; and why."""

    then: str
    code: int
    seconds: int = 0
    nodes: str = ""
    why: str = ""

    @property
    def text(self) -> str:
        """As the script reads it: the first line alone."""
        return f"{self.then} {self.code} {self.seconds} {self.nodes}".rstrip() + f"\n{self.why}\n"


def main(arguments: Sequence[str]) -> None:
    """Settle the start of a job whose folder is DIT_VIDEO_ATTEMPT."""
    parser = argparse.ArgumentParser(prog="python -m dit_video.slurm.settle", description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    parser.add_argument("--code", type=int, required=True, help="exit code of the step with the ranks")
    parser.add_argument("--job", default="", help="what `scontrol show job --oneliner` says of the job")
    given = parser.parse_args(arguments)
    folder = Path(os.environ[shared.ATTEMPT])
    verdict = settle(attempt.read(folder), run=given.run, code=given.code, job=dict(FIELD.findall(given.job)))
    whole.write(folder / attempt.VERDICT, verdict.text)
    log.say(f"== {verdict.why}")


def settle(start: Attempt, *, run: Path, code: int, job: Mapping[str, str]) -> Verdict:
    """What follows; a failure is told and kept."""
    if later := shared.later(start.folder):
        return Verdict("exit", code, why=f"{later} is a later start of this job, and settles it")
    found = start.first() if start.endings else nobody(code)
    if found is None or found.kind == "done":
        return Verdict("exit", 0, why="done")
    if found.kind == "mistake":
        return Verdict("exit", USER_ERROR, why=f"error: {found.text}")
    if found.kind == "stop":
        when = f"after step {found.beat.step}" if found.beat.done else "before the first step"
        stopped = f"stopped by a signal {when}"
        if found.code == INTERRUPTED:
            return Verdict("exit", INTERRUPTED, why=stopped)
        if why := attempt.fruitless([*attempt.earlier(start.folder), start.folder], run=run):
            return Verdict("exit", USER_ERROR, why=f"error: {why}")
        return back(Verdict("requeue", REQUEUE, why=f"{stopped}; the job goes back into the queue"), job)
    if found.shown:
        log.say(found.shown)
    return failed(start, found, run=run, job=job)


def nobody(code: int) -> Cause | None:
    """Why a step ended of which no rank has written anything."""
    if code == 0:
        return None
    kinds: dict[int, Kind] = {USER_ERROR: "mistake", **dict.fromkeys(STOPPED, "stop")}
    text = "see above" if code == USER_ERROR else f"ended with exit code {code} before any rank had begun; see above"
    return attempt.unheard(kinds.get(code, "exit"), text=text, code=REQUEUE if code in STOPPED else code)


def back(verdict: Verdict, job: Mapping[str, str]) -> Verdict:
    """The same, unless this job may not be requeued."""
    if job.get("Requeue") != "0":
        return verdict
    return Verdict("exit", verdict.code, why=f"{verdict.why}, but it may not be requeued (--no-requeue)")


def failed(start: Attempt, found: Cause, *, run: Path, job: Mapping[str, str]) -> Verdict:
    """What follows a failure, by the budget; the row of it is written."""
    rows = [row for row in restarts.table(run) if row.get("job") == start.job and row["kind"] != attempt.REQUEUED]
    allowed = next((item.restarts for item in start.endings), shared.RESTARTS)
    budget = restarts.continued(run, restarts=allowed, rows=rows, attempt=start.start + 1)
    budget.began = start.began
    detected = min((item.detected for item in start.endings if item.detected), default=found.time)
    refusal = budget.refusal(found)
    if port_taken(found) and start.start < CLASHES:
        refusal = None  # another process was faster; the next start has another port
    if refusal is None and job.get("Requeue") == "0":
        refusal = "the job may not be requeued (--no-requeue)"
    node = start.node(found.rank)
    told = unfit(start, found)
    bad = bad_nodes(start, found, rows) if refusal is None else []
    more = {
        "job": start.job,
        "start": start.start,
        "host": node,
        "nodes": start.nodes,
        "excluded": bad,
        "detected": detected,
        "failed": min(found.time, detected),
    }
    budget.record(found, refusal=refusal, kept=start.folder, more=more)
    who = f"rank {found.rank}" if found.rank is not None else "a rank" if start.endings else "the step"
    what = found.text if found.kind == "node" else f"{who}{f' on {node}' if node else ''} {found.text}"
    if len(told) > 1:
        what += f"; so say {len(told)} of {len(start.nodes)} nodes"
    why = f"{what}; {outlook(budget, refusal)}"
    if refusal is not None:
        return Verdict("exit", 1 if found.same(budget.before) else found.code or 1, why=f"{why} ({start.folder})")
    if bad:
        undo = f"scontrol update JobId={start.job} ExcNodeList="
        why += f"; excluded: {', '.join(bad)} (should too few nodes be left, {undo} takes that back)"
    seconds = DELAYS[min(budget.used, len(DELAYS)) - 1]
    return Verdict("requeue", found.code or 1, seconds, excluded(job, bad), why=f"{why} ({start.folder})")


def outlook(budget: Budget, refusal: str | None) -> str:
    """What follows, in words."""
    if refusal is not None:
        return f"not started again: {refusal}"
    origin = f"the checkpoint of step {budget.saved}" if budget.saved >= 0 else "the start"
    return (
        f"the job goes back into the queue, to start again from {origin}, "
        f"{budget.left} more restart(s) without a new checkpoint"
    )


def unfit(start: Attempt, found: Cause) -> list[str]:
    """The nodes that say of themselves what `found` does: at once that they are not fit."""
    causes = {item.node: item.cause.kind for item in start.endings if item.cause and item.cause.kind in AT_ONCE}
    return sorted(causes) if found.kind in AT_ONCE else []


def bad_nodes(start: Attempt, found: Cause, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The nodes without which the job is better off: at once, or where its ranks have hung or were lost before.

    What several nodes say at the same time, half of all or more, is the fault of something that they share.
    """
    told, node = unfit(start, found), start.node(found.rank)
    if told:
        return told if len(told) == 1 or 2 * len(told) < len(start.nodes) else []
    again = any(row["host"] == node and row["kind"] in AT_ONCE | LATER for row in rows)
    return [node] if node and found.kind in LATER and again else []


def excluded(job: Mapping[str, str], bad: Sequence[str]) -> str:
    """All that the job is not to start on, where something is new."""
    before = job.get("ExcNodeList", "")
    return ",".join(["" if before == "(null)" else before, *bad]).lstrip(",") if bad else ""


if __name__ == "__main__":
    log.setup()
    main(sys.argv[1:])
