"""What SLURM is told and asked: the one module that runs sbatch, scontrol, scancel and sinfo.

- Every call has a time limit, and ends in an answer or in one line: a controller that is down is no traceback.
- Jobs are read from `scontrol show job --oneliner`, so no accounting is needed; what SLURM has forgotten is not there.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dit_video.errors import ClusterError

SECONDS = 30.0  # for one call
PLAIN = {  # what this shell may have set otherwise
    "SLURM_BITSTR_LEN": "0",  # the numbers of an array's waiting elements are not cut off
    "SLURM_TIME_FORMAT": "standard",
}
HOLDING = {  # of sbatch's variables, which win over the script: those that a shell has for what no script says
    "SBATCH_ACCOUNT": "--account",
    "SBATCH_PARTITION": "--partition",
    "SBATCH_QOS": "--qos",
    "SBATCH_RESERVATION": "--reservation",
    "SBATCH_CONSTRAINT": "--constraint",
    "SBATCH_TIMELIMIT": "--time",
}
FIELD = re.compile(r"([A-Z][A-Za-z:/]*)=(.*?)(?=\s+[A-Z][A-Za-z:/]*=|\s*$)")
ENDED = frozenset(
    {
        "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL",
        "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "REVOKED",
    }
)  # fmt: skip
NUMBER = re.compile(r"JobId=(\d+)")  # ArrayJobId= too
NOBODY = frozenset({"", "(null)", "N/A", "Unknown", "None"})
UNKNOWN = re.compile(r"Invalid job id|does not exist", flags=re.IGNORECASE)
DOWN = re.compile(r"Unable to contact slurm controller|connect failure|Connection refused|Zero Bytes", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as SLURM knows it; `id` is "12", or "12_3" for an element of an array, "12_[4-9%2]" for waiting ones.

    `time_limit` as SLURM writes it; times are None where there is none yet.
    """

    id: str
    name: str
    state: str
    reason: str
    partition: str
    nodes: str
    restarts: int
    code: int
    time_limit: str
    submitted: datetime | None
    started: datetime | None
    ended: datetime | None
    output: Path | None
    script: Path | None
    folder: Path

    @property
    def over(self) -> bool:
        """Whether it will not run (again), unless someone requeues it."""
        return self.state in ENDED

    @property
    def array(self) -> str:
        """The number that all elements of an array share; of another job its own."""
        return self.id.partition("_")[0]


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition: its longest time as SLURM writes it, and how many nodes it has and gives to one job."""

    name: str
    time: str
    nodes: int
    most: int
    default: bool


def submit(script: Path, *options: str) -> str:
    """Hand `script` to sbatch with `options`; the id of the job. What the script says holds, whatever the shell has."""
    said = script.read_text(encoding="utf-8")
    names = [name for name in os.environ if name.startswith("SBATCH_")]
    dropped = [name for name in names if name not in HOLDING or f"\n#SBATCH {HOLDING[name]}=" in said]
    done = run(["sbatch", "--parsable", *options, str(script)], without=dropped)
    return done.strip().splitlines()[-1].partition(";")[0]


def jobs(ids: Collection[str] | None = None, *, seconds: float = SECONDS) -> list[Job]:
    """The jobs of `ids` that SLURM remembers (of an array: all its elements), or all; `seconds` is its time."""
    if ids is not None and not ids:
        return []
    one = [next(iter(ids))] if ids is not None and len(ids) == 1 else []
    try:
        text = run(["scontrol", "show", "job", "--oneliner", *one], seconds=seconds)
    except ClusterError as error:
        if UNKNOWN.search(str(error)):
            return []
        raise
    numbers = None if ids is None or one else {name.partition("_")[0] for name in ids}
    lines = [line for line in text.splitlines() if "JobId=" in line]
    # read are the lines of those alone: a cluster has thousands of jobs
    found = [parse(line) for line in lines if numbers is None or not numbers.isdisjoint(NUMBER.findall(line))]
    return [job for job in found if ids is None or one or job.id in ids or job.array in ids]


def made_of(scripts: Collection[Path]) -> list[Job]:
    """The jobs, of all that SLURM remembers and that are not over, that were made of one of these scripts."""
    names, wanted = {f"/{path.name}" for path in scripts}, {path.resolve() for path in scripts}
    lines = run(["scontrol", "show", "job", "--oneliner"]).splitlines()
    # read are the lines of such names alone: a cluster has thousands of jobs
    found = [parse(line) for line in lines if any(name in line.partition(" Command=")[2] for name in names)]
    return [job for job in found if not job.over and job.script is not None and job.script.resolve() in wanted]


def job(id: str) -> Job | None:  # noqa: A002 - that is what it is
    """One job, or None where SLURM knows none of that number (any more)."""
    return next(iter(jobs([id])), None)


def cancel(id: str, *, signal: str | None = None) -> None:  # noqa: A002
    """End a job, or send `signal` (a name such as "USR1") to its tasks."""
    run(["scancel", *([f"--signal={signal}"] if signal else []), id])


def requeue(id: str) -> None:  # noqa: A002
    """Put a job back into the queue; it keeps its number."""
    run(["scontrol", "requeue", id])


def exclude(id: str, nodes: Collection[str]) -> None:  # noqa: A002
    """Let a waiting job start on no node of `nodes`, nor of those that it excludes already."""
    text = run(["scontrol", "show", "job", "--oneliner", id])
    before = dict(FIELD.findall(text)).get("ExcNodeList", "")
    names = ([] if before in NOBODY else [before]) + sorted(nodes)
    run(["scontrol", "update", f"JobId={id}", f"ExcNodeList={','.join(names)}"])


def partitions() -> list[Partition]:
    """Every partition that this user may see."""
    found = []
    for line in run(["scontrol", "show", "partition", "--oneliner"]).splitlines():
        fields = dict(FIELD.findall(line))
        if "PartitionName" in fields:
            nodes, most = _number(fields.get("TotalNodes")), fields.get("MaxNodes", "UNLIMITED")
            found.append(
                Partition(
                    name=fields["PartitionName"],
                    time=fields.get("MaxTime", "UNLIMITED"),
                    nodes=nodes,
                    most=min(nodes, int(most)) if most.isdigit() else nodes,
                    default=fields.get("Default") == "YES",
                )
            )
    return found


def most_elements() -> int:
    """How many elements an array may have."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", run(["scontrol", "show", "config"]), flags=re.MULTILINE)
    return max(1, int(found[1]) - 1) if found else 1000


def parse(line: str) -> Job:
    """A job from a line of `scontrol show job --oneliner`."""
    fields = dict(FIELD.findall(line))
    element = fields.get("ArrayTaskId")
    number = fields["ArrayJobId"] if element else fields["JobId"]
    reason = fields.get("Reason", "")
    output, script, nodes = (fields.get(key, "") for key in ("StdOut", "Command", "NodeList"))
    several = element is not None and not element.isdigit()
    return Job(
        id=number if element is None else f"{number}_[{element}]" if several else f"{number}_{element}",
        name=fields.get("JobName", ""),
        state=fields.get("JobState", ""),
        reason="" if reason in NOBODY else reason.replace("_", " "),
        partition=fields.get("Partition", ""),
        nodes="" if nodes in NOBODY else nodes,
        restarts=_number(fields.get("Restarts")),
        code=_code(fields.get("ExitCode", "0:0")),
        time_limit=fields.get("TimeLimit", ""),
        submitted=_time(fields.get("SubmitTime")),
        started=_time(fields.get("StartTime")),
        ended=_time(fields.get("EndTime")),
        output=None if output in NOBODY else Path(output.replace("%%", "%")),
        script=None if script in NOBODY else Path(script),
        folder=Path(fields.get("WorkDir", ".")),
    )


def run(command: Sequence[str], *, seconds: float = SECONDS, without: Collection[str] = ()) -> str:
    """What a command says, `without` some variables; ClusterError where it fails, is not there, or does not answer."""
    environment = {name: value for name, value in os.environ.items() if name not in without} | PLAIN
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=environment)
    except FileNotFoundError:
        raise ClusterError(
            f"there is no {command[0]} here; run this where SLURM is installed, a login node, or leave run.submit out"
        ) from None
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"SLURM has not answered {command[0]} for {seconds:g} s{_last(error.stderr)}; try again when it does"
        ) from None
    if done.returncode == 0:
        return done.stdout
    said = _last(done.stderr)
    if DOWN.search(said):
        raise ClusterError(f"SLURM's controller does not answer{said}; `scontrol ping` tells when it does again")
    raise ClusterError(f"{command[0]} failed{said or f': exit code {done.returncode}'}")


def _last(said: str | bytes | None) -> str:
    """What a command complained of last, to stand behind a sentence."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said or ""
    told = [line for line in text.strip().splitlines() if not line.startswith('Try "')]  # sbatch --help
    lines = [re.sub(r"^(sbatch: )?((\w+: )?(error|fatal): )?", "", line) for line in told]
    return f": {lines[-1]}" if lines else ""


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _code(text: str) -> int:
    """Exit code of a batch script, as a shell has it: 128 + signal where one ended it."""
    code, _, number = text.partition(":")
    return 128 + int(number) if number.isdigit() and int(number) else _number(code)


def _time(text: str | None) -> datetime | None:
    return None if text is None or text in NOBODY else datetime.fromisoformat(text).astimezone()
