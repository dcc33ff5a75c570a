"""Whether a run is watched by a parent, and what that must know of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dit_video.config import Run
from dit_video.launch import world
from dit_video.launch.shared import ATTEMPT, RESTARTS
from dit_video.launch.world import World


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be watched: the run in `dir`, its world, how often it may fail, and how long it may be silent.

    `silence`, and the `patience` of a loader with its storage, in seconds.
    """

    dir: Path
    world: World
    restarts: int
    silence: float
    patience: float = 0.0


def job(run: Run, *, trainer: Mapping[str, Any], patience: float) -> Job | None:
    """The job that the settings ask for; None for one process that needs no parent.

    Without `run.restarts`, a lone process on a CPU needs none. What torchrun or srun has started is watched alone, and
    restarted by them: under srun always, as whatever ends a task is to be known afterwards.
    """
    asked, submitted = world.asked(trainer), ATTEMPT in os.environ
    alone, on_cpu = len(asked.ranks) == 1, trainer.get("accelerator") == "cpu" and not submitted
    restarts = run.restarts if run.restarts is not None else 0 if alone and on_cpu else RESTARTS
    by_srun = "SLURM_STEP_ID" in os.environ and (asked.task is not None or not asked.outside)
    if alone and not restarts and not by_srun:
        return None
    allowed = 0 if asked.outside and not submitted else restarts
    return Job(dir=Path(run.dir), world=asked, restarts=allowed, silence=run.silence, patience=patience)
