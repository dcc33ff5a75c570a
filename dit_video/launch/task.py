"""Which rank a task of srun is, and where the ranks meet, from the variables that SLURM gives to every task.

- Torch and Lightning are told by torchrun's variables: Lightning then takes its TorchElasticEnvironment, and its
  SLURMEnvironment, which requeues from within a signal handler, stays out.
- MASTER_ADDR and MASTER_PORT are the batch script's where it exports them; by hand, with `srun python train.py`, they
  are the first node of the step and a port that follows from job, step and restart.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from dit_video.errors import ConfigError

REPEATED = re.compile(r"(\d+)(?:\(x(\d+)\))?")
PORTS = 12000, 18000  # the first, and how many: below those that the kernel hands out by itself
NAMES = "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task among `size` of a step, and the place `local` among `mates` on node number `node`.

    `threads` are the cores that are its own; `bound` is whether SLURM shows it one GPU alone.
    """

    rank: int
    size: int
    local: int
    mates: int
    node: int
    address: str
    port: int
    run: str
    threads: int
    bound: bool = False

    def environment(self) -> dict[str, str]:
        """What torch and Lightning read; a task that sees one GPU alone is the only one of a node of its own."""
        local, mates, node = (0, 1, self.rank) if self.bound else (self.local, self.mates, self.node)
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(local),
            "LOCAL_WORLD_SIZE": str(mates),
            "GROUP_RANK": str(node),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
            "TORCHELASTIC_RUN_ID": self.run,
        }


def of(environment: Mapping[str, str]) -> Task | None:
    """The task of srun that this process is, with others beside it; ConfigError where SLURM has told too little."""
    size = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_STEP_ID" not in environment or size < 2:
        return None
    if lacking := [name for name in NAMES if name not in environment]:
        raise ConfigError(
            f"{lacking[0]} is not set in a task of srun; export all of SLURM's variables (srun --export=ALL)"
        )
    rank, local = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
    node, nodes = int(environment.get("SLURM_NODEID", "0")), counts(environment["SLURM_STEP_TASKS_PER_NODE"])
    mates, visible = nodes[node], [item for item in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if item]
    run = "-".join(environment.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))
    address = "127.0.0.1" if len(nodes) == 1 else first_host(environment["SLURM_STEP_NODELIST"])
    return Task(
        rank=rank,
        size=size,
        local=local,
        mates=mates,
        node=node,
        address=environment.get("MASTER_ADDR") or address,
        port=int(environment.get("MASTER_PORT") or PORTS[0] + zlib.crc32(run.encode()) % PORTS[1]),
        run=run,
        threads=threads(environment, mates=mates),
        bound=max(nodes) > 1 and len(visible) == 1,
    )


def threads(environment: Mapping[str, str], *, mates: int) -> int:
    """Cores of a task: those that it was given, or its share of the job's on this node."""
    given = environment.get("SLURM_CPUS_PER_TASK")
    return int(given) if given else max(int(environment.get("SLURM_CPUS_ON_NODE", "1")) // mates, 1)


def counts(text: str) -> list[int]:
    """Tasks of each node, from SLURM's short form: "2(x3),1" is three nodes with two, and one with one."""
    found = [(int(match[1]), int(match[2] or 1)) for match in REPEATED.finditer(text)]
    return [count for count, times in found for _ in range(times)]


def first_host(text: str) -> str:
    """The first name of a list such as "node[2-4,7],gpu-1"."""
    end = re.match(r"(?:[^,\[]|\[[^\]]*\])*", text)
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", end[0] if end else text)
