"""The batch script of a job: a template of slurm/ with what the settings say of the job written in."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dit_video.slurm.settings import Slurm

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "slurm"
MARK = re.compile(r"@([a-z]+)@")
PLAIN = re.compile(r"[\w@%+=:,./\-\[\]]+")


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a job takes: `nodes`, or down to `least` of them, each with `tasks` ranks and `gpus` GPUs."""

    nodes: int = 1
    least: int | None = None
    tasks: int = 1
    gpus: int = 0

    @property
    def worlds(self) -> list[int]:
        """The numbers of ranks that the job may start with."""
        return [count * self.tasks for count in range(self.least or self.nodes, self.nodes + 1)]


def options(slurm: Slurm, *, name: str, log: Path, size: Size) -> list[str]:
    """What sbatch is told; the job runs in the folder where it is submitted, and appends to `log`, which may have
    sbatch's %j.
    """
    gpus = slurm.gpus if slurm.gpus is not None else size.gpus or None
    given = {
        "job-name": name,
        "chdir": Path.cwd(),
        "output": log,
        "open-mode": "append",
        "account": slurm.account,
        "partition": slurm.partition,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "exclude": slurm.exclude,
        "time": slurm.time,
        "nodes": nodes(size),
        **tasks(size, cpus=slurm.cpus),
        "cpus-per-task": slurm.cpus,
        "gpus-per-node": gpus,
        "mem": slurm.memory,
    }
    return [*(f"--{key}={value}" for key, value in given.items() if value is not None), *slurm.options]


def nodes(size: Size) -> str:
    """How many nodes, as sbatch takes it: "2", or "1-2"."""
    return f"{size.least}-{size.nodes}" if size.least and size.least < size.nodes else str(size.nodes)


def tasks(size: Size, *, cpus: int | None) -> dict[str, int]:
    """What a node must hold. Told in tasks, SLURM holds a job that goes back into the queue to all that it had had: it
    would wait for as many nodes again, so that of several numbers it is told in CPUs; srun says how many tasks.
    """
    if nodes(size) == str(size.nodes):
        return {"ntasks-per-node": size.tasks}
    return {"mincpus": size.tasks * (cpus or 1)}


def signal(slurm: Slurm) -> str:
    """The option that announces the time limit, to the ranks or to the shell of the job."""
    return f"--signal={'B:' if slurm.signal == 'shell' else ''}USR1@{slurm.grace}"


def setup(slurm: Slurm) -> list[str]:
    """Lines of shell that come before all else: variables, modules, and the site's own."""
    exports = [
        f"export {name}={shlex.quote(str(value))}" for name, value in slurm.environment.items() if value is not None
    ]
    path = f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"
    modules = [f"module load {' '.join(shlex.quote(item) for item in slurm.modules)}"] if slurm.modules else []
    return [*modules, *exports, path, *slurm.setup]


def launch(slurm: Slurm, *, mounts: Sequence[Path], gpus: bool) -> tuple[list[str], list[str]]:
    """What is said to srun, and what stands before the arguments of Python: the container, and the interpreter.

    The folders `mounts` are seen in the container where they are outside.
    """
    python = slurm.python or (sys.executable if slurm.container is None else "python")
    if slurm.container is None:
        return [], [python]
    bound = [*dict.fromkeys(f"{path}:{path}" for path in (Path.cwd(), ROOT, *mounts)), *slurm.mounts]
    if slurm.engine == "pyxis":
        image = [f"--container-image={slurm.container}", f"--container-mounts={','.join(bound)}"]
        return [*image, f"--container-workdir={Path.cwd()}"], [python]
    binds = [item for bind in bound for item in ("--bind", bind)]
    nv = ["--nv"] if gpus else []
    return [], ["apptainer", "exec", *nv, *binds, "--pwd", str(Path.cwd()), slurm.container, python]


def resources(slurm: Slurm) -> list[str]:
    """What srun is told again, as it does not take it from the job: SLURM's step has one CPU a task otherwise."""
    return [] if slurm.cpus is None else [f"--cpus-per-task={slurm.cpus}"]


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template of this name, with `values` for what stands between at-signs; a line with nothing else goes."""
    text = (TEMPLATES / f"{template}.sbatch").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if (found := MARK.fullmatch(line)) is None or values[found[1]]]
    return MARK.sub(lambda found: values[found[1]], "\n".join(lines)) + "\n"


def directives(options: Sequence[str]) -> str:
    """The options as lines for sbatch, which knows double quotes."""
    return "\n".join(f"#SBATCH {item if PLAIN.fullmatch(item) else _quoted(item)}" for item in options)


def command(words: Sequence[str]) -> str:
    """A command as the shell takes it, its arguments a line each where they are long."""
    quoted = [shlex.quote(word) for word in words]
    line = " ".join(quoted)
    return line if len(line) <= 100 else " \\\n    ".join(quoted)


def _quoted(option: str) -> str:
    key, _, value = option.partition("=")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'
