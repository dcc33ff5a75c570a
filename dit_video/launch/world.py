"""How many ranks there are, which of them this command starts, and what each finds in its environment."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dit_video.errors import ConfigError
from dit_video.launch import task
from dit_video.launch.shared import ATTEMPT
from dit_video.launch.task import Task

SHARED = 4
"""Processes that may share a core of this machine: enough to try a plan on a laptop."""


@dataclass(frozen=True, kw_only=True)
class World:
    """The ranks that this command starts, of `size` in all; `outside` is whether torchrun or srun has started it.

    `task` is what srun has told.
    """

    ranks: tuple[int, ...]
    size: int
    outside: bool = False
    task: Task | None = None

    @property
    def whole(self) -> bool:
        """Whether no rank is started by others."""
        return len(self.ranks) == self.size

    def environment(self, rank: int, *, port: int, run: str) -> dict[str, str]:
        """What torch and Lightning read; nothing for one process alone, or where torchrun has said it."""
        if self.task is not None:
            threads = str(min(self.task.threads, cores()))
            return {**self.task.environment(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
        if self.outside or self.size == 1:
            return {}
        threads = str(max(cores() // len(self.ranks), 1))
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(self.ranks.index(rank)),
            "GROUP_RANK": "0",
            "WORLD_SIZE": str(self.size),
            "LOCAL_WORLD_SIZE": str(len(self.ranks)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": run,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        }


def asked(trainer: Mapping[str, Any], *, environment: Mapping[str, str] = os.environ) -> World:
    """The world that the settings `trainer.*` ask for; ConfigError for one that this machine alone cannot start."""
    nodes = trainer.get("num_nodes") or 1
    if (given := from_outside(environment)) is not None:
        return given
    if nodes > 1 and ATTEMPT not in environment:  # a job may go on with one rank alone (run.submit.min_nodes)
        raise ConfigError(
            f"trainer.num_nodes={nodes} needs someone who starts the ranks of all machines: torchrun, srun"
        )
    accelerator = str(trainer.get("accelerator") or "auto")
    count = devices(trainer.get("devices", "auto"), accelerator=accelerator)
    if accelerator == "cpu" and count > SHARED * cores():
        raise ConfigError(f"trainer.devices is {count} and this machine has {cores()} cores; lower it")
    return World(ranks=tuple(range(count)), size=count)


def from_outside(environment: Mapping[str, str]) -> World | None:
    """The rank that torchrun, or srun with several tasks, has given to this process."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return World(ranks=(int(environment["RANK"]),), size=int(environment["WORLD_SIZE"]), outside=True)
    if (found := task.of(environment)) is not None:
        return World(ranks=(found.rank,), size=found.size, outside=True, task=found)
    return None


def devices(given: Any, *, accelerator: str) -> int:
    """How many processes Lightning makes of `trainer.devices`; ConfigError for what is no number of them."""
    if accelerator == "cpu" and str(given) != "auto" and not (str(given).isdigit() and int(given) > 0):
        raise ConfigError(
            f"trainer.devices={given} chooses among GPUs, and trainer.accelerator is cpu; set trainer.devices=N, "
            "a number of processes"
        )
    if isinstance(given, list | tuple):
        return len(given)
    text = str(given)
    if "," in text:
        return len([item for item in text.split(",") if item.strip()])
    if text in {"auto", "-1"}:
        return gpus() if accelerator in {"auto", "gpu", "cuda"} else 1
    if not text.isdigit():
        raise ConfigError(f"trainer.devices must be a number, a list of them, auto or -1, got {given!r}")
    return max(int(text), 1)


def gpus() -> int:
    """GPUs that torch sees, at least 1; asked for in a process of its own, as torch is heavy."""
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return max(int(done.stdout.strip() or 0), 1)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_port() -> int:
    """A port that is free now; another process may take it before it is used."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
