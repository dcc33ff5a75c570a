"""Why SLURM will not run a job, in terms of the settings that mend it."""

from __future__ import annotations

import re

from dit_video.errors import ClusterError
from dit_video.slurm import client
from dit_video.slurm.client import Job, Partition
from dit_video.slurm.script import Size
from dit_video.slurm.settings import Slurm, minutes

NEVER = re.compile(
    r"Partition(Time|Node)Limit|PartitionConfig|BadConstraints|can't use this partition|Invalid(Account|QOS)|PerJob"
)
SAID = (  # what SLURM says, and the keys that mend it
    (r"(unrecognized|invalid|ambiguous) option|option .* (requires|doesn't allow)", ("options",)),
    (r"signal", ("grace",)),
    (r"partition name|Invalid partition", ("partition",)),
    (r"account", ("account", "partition")),
    (r"time limit|--time|WallDuration", ("time",)),
    (r"qos", ("qos", "partition")),
    (r"feature", ("constraint",)),
    (r"gres", ("gpus",)),
    (r"memory", ("memory",)),
    (r"node name", ("exclude",)),
    (r"configuration is not available|more processors|node count", ("gpus", "cpus", "memory", "constraint", "exclude")),
)


def of(error: ClusterError, slurm: Slurm, *, size: Size) -> ClusterError:
    """What sbatch's complaint means for the settings; another one is as it was."""
    said = str(error).removeprefix("sbatch failed: ").removeprefix("Batch job submission failed: ")
    if said == str(error) or (hint := _hint(said, slurm, size=size)) is None:
        return error
    return ClusterError(f"SLURM refuses the job: {said}; {hint}")


def never(job: Job, slurm: Slurm, *, size: Size) -> ClusterError | None:
    """Why a job that SLURM has taken would wait for ever; None where its turn may come."""
    if job.state not in {"FAILED", "PENDING"} or not NEVER.search(job.reason):
        return None
    found = next((item for item in client.partitions() if item.name == job.partition), None)
    if job.reason == "PartitionNodeLimit" and found is not None and (size.least or size.nodes) <= found.most:
        return None  # some are down
    why = _hint(job.reason, slurm, size=size) or _why(job, found, slurm, size=size)
    return ClusterError(f"SLURM would never start the job ({job.reason}), so it is taken back: {why}")


def _hint(said: str, slurm: Slurm, *, size: Size) -> str | None:
    """Which settings mend what SLURM says, and what they are."""
    keys = next((keys for pattern, keys in SAID if re.search(pattern, said, flags=re.IGNORECASE)), None)
    if keys is None:
        return None
    named = [f"run.submit.{key}" for key in keys]
    given = [f"{key}={value}" for key, value in zip(named, (getattr(slurm, key) for key in keys), strict=True) if value]
    if "cpus" in keys:
        given = [f"{size.nodes} node(s) with {size.tasks} rank(s) and {slurm.gpus or size.gpus} GPU(s) each", *given]
        named = ["trainer.num_nodes", "trainer.devices", *named]
    offered = f", one of {', '.join(item.name for item in client.partitions())}" if keys == ("partition",) else ""
    asked = f" (now {', '.join(given)})" if given else ""
    return f"change {', '.join(named)}{offered}{asked}"


def _why(job: Job, partition: Partition | None, slurm: Slurm, *, size: Size) -> str:
    if partition is not None and minutes(job.time_limit) > minutes(partition.time):
        return (
            f"run.submit.time={slurm.time} is over the limit of partition {partition.name}, {partition.time}; "
            "lower it: the run goes on in the same job when its time is over; or choose another run.submit.partition"
        )
    if partition is not None and (size.least or size.nodes) > partition.most:
        return (
            f"trainer.num_nodes={size.nodes} and partition {partition.name} gives {partition.most} node(s) to a job; "
            "lower it, or choose another run.submit.partition"
        )
    return (
        f"no node of partition {job.partition} has what is asked of each ({size.tasks} rank(s), "
        f"{slurm.cpus or 1} CPU(s) a rank, {slurm.gpus or size.gpus} GPU(s), memory {slurm.memory or 'by default'}); "
        "lower trainer.devices or run.submit.*"
    )
