"""Hands stages of preparing over to SLURM: an array of jobs, whose elements share the shards of a dataset.

- Element i of n makes the shards whose number leaves i when divided by n; only elements that have something to make are
  submitted, and nothing that is queued or running already.
- DATASET/slurm/NAME has the script, jobs.jsonl (a row a submission) and a log of each element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_video.errors import ConfigError
from dit_video.slurm import client, hold, script
from dit_video.slurm.client import Job
from dit_video.slurm.script import Size
from dit_video.slurm.settings import Slurm
from dit_video.slurm.submit import FOLDER, SCRIPT, TABLE, accepted, check_environment, keep, tell

LOGS = "logs"
ROUNDS = 8  # elements that come one after the other in the place of one, where nothing else is asked for
ELEMENTS = 1000  # of an array that is only shown: SLURM's own limit
ONE = Size()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of preparing a dataset: `command` is what Python is told, but for the part.

    Of `shards` those in `missing` do not stand; when all do, something may be left to do (`ended` is False). A stage
    that is not `parted` is one job. `mounts` are folders that it reads and writes.
    """

    name: str
    dataset: Path
    command: tuple[str, ...]
    shards: int
    missing: tuple[int, ...]
    ended: bool
    parted: bool
    mounts: tuple[Path, ...]
    slurm: Slurm

    @property
    def folder(self) -> Path:
        """Where its script and logs lie."""
        return (self.dataset / FOLDER / self.name).absolute()

    def parts(self, most: int) -> int:
        """How many elements share all the shards, at most `most`; ConfigError where that cannot be as it is asked."""
        asked = self.slurm.shards_per_task
        if not self.parted:
            return 1
        if asked is None:
            return max(1, min(self.shards, most, ROUNDS * self.slurm.concurrent))
        if (count := -(-self.shards // asked)) > most:
            raise ConfigError(
                f"run.submit.shards_per_task={asked} makes {count} elements of {self.shards} shards, and SLURM takes "
                f"{most} (MaxArraySize); set at least {-(-self.shards // most)}"
            )
        return max(1, count)

    def text(self, elements: Sequence[int], *, parts: int) -> str:
        """The script of an array with `elements` of so many `parts`."""
        slurm = self.slurm
        output = Path(str(self.folder / LOGS).replace("%", "%%")) / "%A_%a.out"
        given = [f"--array={spelled(elements)}%{slurm.concurrent}", "--requeue", f"--signal=B:USR1@{slurm.grace}"]
        given += script.options(slurm, name=self.name, log=output, size=ONE)  # the site's own come last, and win
        srun, python = script.launch(slurm, mounts=[self.dataset.absolute(), *self.mounts], gpus=bool(slurm.gpus))
        path = script.command([str(self.folder / SCRIPT)])
        return script.fill(
            "array",
            {
                "title": f"{self.name} of {self.dataset}: to run it again by hand, sbatch {path}",
                "options": script.directives(given),
                "setup": "\n".join(script.setup(slurm)),
                "requeues": str(slurm.requeues),
                "grace": str(slurm.grace),
                "srun": " ".join([*script.resources(slurm), *(script.command([item]) for item in srun)]),
                "python": script.command(python),
                "command": script.command(self.command),
                "part": f' part="$SLURM_ARRAY_TASK_ID/{parts}"' if self.parted else "",
            },
        )


def hand_over(stage: Stage, *, dry: bool) -> None:
    """Submit what is missing of a stage and say how to follow it, or only show the script."""
    if dry:
        parts = stage.parts(ELEMENTS)
        tell(stage.text(elements(stage.missing, stage, parts=parts) or [0], parts=parts).rstrip("\n"))
        return
    check_environment(stage.slurm)
    with hold.held(stage.folder, key="dataset"):
        _hand_over(stage)


def _hand_over(stage: Stage) -> None:
    """Look what is missing and in nobody's hands, and submit it."""
    parts = stage.parts(client.most_elements())
    alive = client.made_of([stage.folder / SCRIPT])
    busy = under_way(alive, rows(stage.folder / TABLE), shards=stage.shards, parts=parts)
    wanted = elements(set(stage.missing) - busy, stage, parts=parts, alone=not alive)
    if not wanted:
        say_nothing(stage, alive)
        return
    number = submit(stage, wanted, parts=parts)
    shards = sum(shard % parts in set(wanted) for shard in stage.missing)
    tell(
        f"job {number}: {stage.name}, {len(wanted)} elements for {shards} of {stage.shards} shards, "
        f"{stage.slurm.concurrent} at a time; script {stage.folder / SCRIPT}"
    )
    logs = script.command([str(stage.folder / LOGS)])
    tell(f"  log     tail -F {logs}/{number}_*.out")
    tell(f"  state   squeue --array --job {number}")
    tell(f"  cancel  scancel {number}, or one element: scancel {number}_{wanted[0]}")
    tell("  when it has ended, the same command submits what is still missing, or says that nothing is")


def elements(missing: Iterable[int], stage: Stage, *, parts: int, alone: bool = True) -> list[int]:
    """The elements that have something to make; one where all shards stand and nobody is about to do the rest."""
    found = sorted({shard % parts for shard in missing})
    return found or ([0] if not stage.missing and not stage.ended and alone else [])


def say_nothing(stage: Stage, alive: Sequence[Job]) -> None:
    """Why nothing is submitted."""
    if alive:
        numbers = ", ".join(sorted({job.array for job in alive}))
        tell(f"{stage.name}: what is missing is queued or runs already (job {numbers}); nothing is submitted")
    else:
        tell(f"{stage.name}: all {stage.shards} shards stand -> {stage.dataset}; nothing is submitted")


def submit(stage: Stage, wanted: Sequence[int], *, parts: int) -> str:
    """Write the script, submit it, and keep that; ClusterError where SLURM would refuse it sooner or later."""
    path, text = stage.folder / SCRIPT, stage.text(wanted, parts=parts)
    number = accepted(path, text, logs=stage.folder / LOGS, key="dataset", slurm=stage.slurm, size=ONE)
    keep(path, command=stage.command, job=number, more={"parts": parts, "elements": spelled(wanted)})
    return number


def rows(path: Path) -> list[dict[str, Any]]:
    """What was submitted, the oldest first."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def under_way(jobs: Collection[Job], submitted: Sequence[Mapping[str, Any]], *, shards: int, parts: int) -> set[int]:
    """Shards that elements which are queued or running make; one submitted by hand has `parts` parts."""
    of = {str(row["job"]): int(row["parts"]) for row in submitted}
    found: set[int] = set()
    for job in jobs:
        count = of.get(job.array, parts)
        for element in numbers(job.id.partition("_")[2]):
            found |= set(range(element, shards, count))
    return found


def spelled(elements: Iterable[int]) -> str:
    """Numbers as SLURM has them, runs of them shortened: 0-3,7."""
    runs: list[list[int]] = []
    for number in elements:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def numbers(text: str) -> list[int]:
    """What SLURM calls elements: `3`, or of those that wait `[0-3,7%4]`."""
    found: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text.partition("%")[0]):
        found += range(int(first), int(last or first) + 1)
    return found
