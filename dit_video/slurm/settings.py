"""What a cluster is to be told of a job: the settings under `run.submit`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from dit_video.errors import ConfigError

TEXTS = ("account", "partition", "qos", "constraint", "time", "memory", "exclude", "container", "python")
"""Settings that are taken letter by letter: node[1-3] and 1:00:00 need no quotes on the command line."""
TIME = re.compile(r"(\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2}|UNLIMITED|INFINITE)", flags=re.IGNORECASE)
MEMORY = re.compile(r"\d+[KMGT]?B?", flags=re.IGNORECASE)
NAME = re.compile(r"[A-Za-z_]\w*")
GIVEN = re.compile(r"""(\w+)=(?=["']?[^\s"'$])""")
"""What a line of shell sets to a value that stands there: not to "$HOME", nor to $(cat FILE)."""
SECRET = re.compile(r"TOKEN(?!IZ)|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE", flags=re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A job of SLURM; how many nodes and ranks it has follows from trainer.*, and null is what the cluster does.

    `gpus` of a node (a number or TYPE:NUMBER), `cpus` of a rank, `memory` of a node (64G), `time` as sbatch takes it.
    With `min_nodes` a job that starts again may have fewer nodes than trainer.num_nodes, down to that.
    `grace` seconds before the time limit the ranks are told to save and stop, by SLURM itself, or by the shell of the
    job where signals do not reach them (`signal`); `wait` seconds after the first rank has ended, the others are ended.
    `concurrent` elements of an array run at once, each for `shards_per_task` shards of a dataset (by default one, or
    as many as make 8 elements for each that runs at once); one that was killed begins again at most `requeues` times.
    `environment` is exported: {NAME: value}, or {NAME: null} for what the submitting shell must have, which is handed
    over by name and written nowhere. `modules` are loaded, `setup` lines of shell run first on the batch host;
    `container` is an image, run by `engine` with `mounts` (SOURCE:TARGET), `python` the interpreter there.
    `options` are handed to sbatch as they are (--mail-type=END).
    """

    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | int | None = None
    gpus: str | int | None = None
    cpus: int | None = None
    memory: str | None = None
    min_nodes: int | None = None
    exclude: str | None = None
    grace: int = 120
    signal: Literal["ranks", "shell"] = "ranks"
    wait: int = 120
    concurrent: int = 16
    shards_per_task: int | None = None
    requeues: int = 5
    modules: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    environment: dict[str, str | int | float | None] = field(default_factory=dict)
    container: str | None = None
    engine: Literal["pyxis", "apptainer"] = "pyxis"
    mounts: list[str] = field(default_factory=list)
    python: str | None = None
    options: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if isinstance(self.time, int):  # to YAML, 12:00:00 without quotes is a number to the base of 60
            raise ConfigError(f"run.submit.time is the number {self.time}; in a file, quote it: time: '12:00:00'")
        if self.time is not None and not TIME.fullmatch(self.time):
            raise ConfigError(f"run.submit.time={self.time} is no time; expected MINUTES, H:MM:SS or DAYS-H:MM:SS")
        if self.memory is not None and not MEMORY.fullmatch(self.memory):
            raise ConfigError(f"run.submit.memory={self.memory} is no size; expected a number with K, M, G or T: 64G")
        for key in ("cpus", "min_nodes", "grace", "wait", "concurrent", "shards_per_task"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"run.submit.{key} must be at least 1, got {value}")
        if self.time is not None and self.grace >= 60 * minutes(self.time):
            raise ConfigError(
                f"run.submit.grace={self.grace} seconds are all of run.submit.time={self.time}; lower the one or raise "
                "the other"
            )
        if self.requeues < 0:
            raise ConfigError(f"run.submit.requeues must be at least 0, got {self.requeues}")
        if self.mounts and self.container is None:
            raise ConfigError("run.submit.mounts needs an image; add run.submit.container=IMAGE, or leave it out")
        self._check_texts()

    def _check_texts(self) -> None:
        """No line of the script may be broken by a value, and no secret may stand in it."""
        for key in ("modules", "setup", "mounts", "options"):
            for value in getattr(self, key):
                if not isinstance(value, str) or "\n" in value:
                    raise ConfigError(f"run.submit.{key} takes lines of text, got {value!r}")
                if found := next(filter(SECRET.search, GIVEN.findall(value)), None):
                    raise ConfigError(
                        f"run.submit.{key} sets {found}, which looks like a secret and would stand in the script; "
                        f"export it in the shell, and set run.submit.environment.{found}=null"
                    )
        for value in self.options:
            if not value.startswith("-"):
                raise ConfigError(f"run.submit.options takes options of sbatch, got {value!r}; expected --NAME=VALUE")
        for name, given in self.environment.items():
            if not NAME.fullmatch(name):
                raise ConfigError(f"run.submit.environment: {name!r} is no name of a variable")
            if given is not None and SECRET.search(name):
                raise ConfigError(
                    f"run.submit.environment.{name} looks like a secret and would stand in the script; "
                    f"export it in the shell, and set run.submit.environment.{name}=null"
                )


def minutes(text: str) -> float:
    """A time as sbatch takes it and as SLURM writes it, [DAYS-]HOURS:MINUTES:SECONDS; without a limit infinity."""
    if text[:1].isalpha():
        return float("inf")
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:  # from hours on, else minutes come first where there are less than three
        parts = [*parts, 0, 0][:3]
    elif len(parts) < 3:
        parts = [0, *parts, 0][:3]
    hours, mins, seconds = parts
    return int(days or 0) * 1440 + hours * 60 + mins + seconds / 60
