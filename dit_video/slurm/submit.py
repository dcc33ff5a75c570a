"""Hands trainings and samplings over to SLURM: `run.submit=slurm`.

- The script lies in the run's folder, to be read, and to be handed to sbatch by hand: nothing else is needed for it.
- All that can be wrong is told here, at the shell: what would wait in the queue for ever is taken back.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from dit_video import log, whole
from dit_video.errors import ClusterError, ConfigError, UserError
from dit_video.launch.shared import ATTEMPT
from dit_video.slurm import client, hold, refusal, script
from dit_video.slurm.client import Job
from dit_video.slurm.script import Size
from dit_video.slurm.settings import TEXTS, Slurm

FOLDER, SCRIPT, TABLE = "slurm", "job.sbatch", "jobs.jsonl"
LOOKS = 4  # times that a new job is looked at, until SLURM has thought about it


@dataclass(frozen=True, kw_only=True)
class Request:
    """A job to be: its `folder` gets script, log and list of jobs; `command` is what Python is told.

    `work` is what the job writes, a run's folder or a file; `look` a command that says how it stands.
    """

    template: Literal["train", "sample"]
    name: str
    folder: Path
    work: Path
    command: tuple[str, ...]
    size: Size
    slurm: Slurm
    look: str
    dry: bool = False

    @property
    def path(self) -> Path:
        """The script."""
        return (self.folder / SCRIPT).absolute()

    @property
    def key(self) -> str:
        """The setting that says where it works."""
        return "run.dir" if self.template == "train" else "out"

    def text(self) -> str:
        """What the script says."""
        slurm, size = self.slurm, self.size
        log = Path(str(self.folder.absolute()).replace("%", "%%")) / "%j.out"
        given = ["--requeue"]
        if self.template == "train":  # what samples does not listen
            given.append(script.signal(slurm))
        given += script.options(slurm, name=self.name, log=log, size=size)  # the site's own come last, and win
        mounts = [self.work.absolute() if self.template == "train" else self.work.absolute().parent]
        srun, python = script.launch(slurm, mounts=mounts, gpus=bool(slurm.gpus or size.gpus))
        return script.fill(
            self.template,
            {
                "title": f"{self.name}: to run it again by hand, sbatch {script.command([str(self.path)])}",
                "options": script.directives(given),
                "setup": "\n".join(script.setup(slurm)),
                "run": script.command([str(self.work.absolute())]),
                "wait": str(slurm.wait),
                "tasks": str(size.tasks),
                "srun": " ".join([*script.resources(slurm), *(script.command([item]) for item in srun)]),
                "python": script.command(python),
                "command": script.command(self.command),
            },
        )


def inside(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is part of a job: what is submitted does not submit itself."""
    return ATTEMPT in environment


def texts(arguments: Sequence[str]) -> list[str]:
    """Keys whose values are taken letter by letter, but for those that are set to null."""
    return [key for name in TEXTS if f"{(key := f'run.submit.{name}')}=null" not in arguments]


def size(slurm: Slurm, *, trainer: Mapping[str, Any]) -> Size:
    """The nodes and ranks that trainer.* asks for; ConfigError where that says nothing about other machines."""
    devices, nodes = trainer.get("devices", "auto"), trainer.get("num_nodes") or 1
    count = len(devices) if isinstance(devices, list) else devices
    if not (isinstance(count, int) and count > 0):
        raise ConfigError(f"trainer.devices={devices} says nothing about the cluster's nodes; set the ranks of a node")
    if slurm.min_nodes is not None and slurm.min_nodes > nodes:
        raise ConfigError(f"run.submit.min_nodes={slurm.min_nodes} is more than trainer.num_nodes={nodes}; lower it")
    gpus = count if trainer.get("accelerator") in ("gpu", "cuda", "auto") else 0
    return Size(nodes=nodes, least=slurm.min_nodes, tasks=count, gpus=gpus)


def training(run: Any, *, trainer: Mapping[str, Any], command: Sequence[str]) -> Request:
    """The job of a run."""
    folder = Path(run.dir)
    return Request(
        template="train",
        name=run.name,
        folder=folder / FOLDER,
        work=folder,
        command=(str(Path(command[0]).absolute()), *command[1:]),
        size=size(run.submit, trainer=trainer),
        slurm=run.submit,
        dry=run.dry,
        look=f"python -m dit_video.runs status {script.command([run.dir])}",
    )


def sampling(slurm: Slurm, *, work: Path, device: str, command: Sequence[str], dry: bool) -> Request:
    """The job that makes the file or the folder `work`; its own folder lies beside a file, or in the folder."""
    return Request(
        template="sample",
        name=f"sample {work.name}",
        folder=work.with_name(f"{work.stem}.{FOLDER}") if work.suffix else work / FOLDER,
        work=work,
        command=(str(Path(command[0]).absolute()), *command[1:]),
        size=Size(gpus=int(device.startswith("cuda"))),
        slurm=slurm,
        dry=dry,
        look="scontrol show job JOB",
    )


def hand_over(requests: Sequence[Request]) -> None:
    """Submit the jobs and say how to follow them, or only show their scripts.

    One that is queued or runs already is not submitted twice: a ConfigError, or of several a line.
    """
    for request, following in pairwise(sorted(requests, key=lambda request: request.path)):
        if request.path == following.path:
            raise ConfigError(
                f"two points of the sweep have one folder, {request.work}: values that differ in signs alone; "
                "submit one of them apart, with a run.dir of its own"
            )
    if any(request.dry for request in requests):
        tell("\n".join(request.text() for request in requests).rstrip("\n"))
        return
    for request in requests:
        check_environment(request.slurm)
    with ExitStack() as stack:
        for request in sorted(requests, key=lambda request: request.path):
            stack.enter_context(hold.held(request.path.parent, key=request.key))
        _hand_over(requests)


def _hand_over(requests: Sequence[Request]) -> None:
    """Look which of them are jobs already, and submit the others."""
    alive = client.made_of({request.path for request in requests})
    known = {job.script.resolve(): job for job in alive if job.script is not None}
    for at, request in enumerate(requests):
        if (job := known.get(request.path.resolve())) is not None:
            said = f"{request.work} is job {job.id} already ({job.state.lower()}); `scancel {job.id}` ends that"
            if len(requests) == 1:
                raise ConfigError(said)
            tell(said)
            continue
        try:
            number = submit(request)
        except ClusterError as error:
            if not at:
                raise
            raise ClusterError(
                f"{error} (of {len(requests)} jobs {at} are submitted; the same command goes on with the others)"
            ) from None
        where = f"{script.nodes(request.size)} node(s), {request.size.tasks} rank(s) each"
        if len(requests) > 1:
            tell(f"job {number}: {request.name}, {where}; log {request.folder / f'{number}.out'}")
            continue
        tell(f"job {number}: {request.name}, {where}; script {request.folder / SCRIPT}")
        tell(f"  log     tail -F {script.command([str(request.folder / f'{number}.out')])}")
        tell(f"  state   {request.look.replace('JOB', number)}")
        tell(f"  cancel  scancel {number}")


def tell(text: str) -> None:
    """Say it, if anyone listens: what is to be submitted is, also where only the first line is read (`| head -1`)."""
    try:
        log.say(text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def submit(request: Request) -> str:
    """Write the script, submit it, and keep that; ClusterError where SLURM would refuse it sooner or later."""
    folder, slurm = request.folder, request.slurm
    number = accepted(request.path, request.text(), logs=folder, key=request.key, slurm=slurm, size=request.size)
    keep(request.path, command=request.command, job=number)
    return number


def accepted(path: Path, text: str, *, logs: Path, key: str, slurm: Slurm, size: Size) -> str:
    """The id of a job with the script `text`, put at `path`, if SLURM takes it and would start it some time.

    Else a ClusterError, or a ConfigError where the folder that `key` names cannot be written to, and of a first job
    nothing is left: neither the script nor folders made for it and its `logs`.
    """
    made = list[Path]()
    try:
        with hold.writing(logs, key=key):
            made = hold.missing(logs)
            logs.mkdir(parents=True, exist_ok=True)
            whole.write(path, text)
        return _taken(path, slurm=slurm, size=size)
    except UserError:
        with suppress(OSError):
            if not path.with_name(TABLE).exists():
                path.unlink(missing_ok=True)
        hold.leave(made)
        raise


def _taken(path: Path, *, slurm: Slurm, size: Size) -> str:
    """The id of the job of a script, which SLURM has looked at."""
    try:
        number = client.submit(path)
    except ClusterError as error:
        raise refusal.of(error, slurm, size=size) from None
    job = considered(number)
    if job is not None and (why := refusal.never(job, slurm, size=size)) is not None:
        client.cancel(number)
        raise why
    return number


def keep(path: Path, *, command: Sequence[str], job: str, more: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Note, beside the script, that it has been submitted."""
    row = {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "job": job,
        "script": str(path),
        "command": list(command),
        "folder": str(Path.cwd()),
        **more,
    }
    with path.with_name(TABLE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def considered(number: str) -> Job | None:
    """The job when SLURM has said why it waits, or that it does not; after a second or two as it is."""
    job = client.job(number)
    for _ in range(LOOKS):
        if job is None or job.state != "PENDING" or job.reason:
            break
        time.sleep(0.5)
        job = client.job(number)
    return job


def check_environment(slurm: Slurm) -> None:
    """ConfigError for a variable that the job needs from this shell, which has none."""
    for name, value in slurm.environment.items():
        if value is None and name not in os.environ:
            raise ConfigError(f"run.submit.environment.{name} is null, and this shell has no {name}; export it")
