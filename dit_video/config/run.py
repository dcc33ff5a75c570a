"""What a training run is called, where it lives and how long it is: the settings under `run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dit_video.errors import ConfigError
from dit_video.slurm.settings import Slurm


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run: where it lives, how long it is, and the seed everything random is keyed by.

    `samples` is the run's length and `every_samples` the interval of checkpoints, both in samples seen by all ranks.
    `plan` prints what the run would do and does nothing, as text or as "json"; for `ranks` processes, by default those
    that the trainer asks for, and with the time it takes where each of them reaches `tflops` * 10^12 FLOPs a second;
    a plan that needs more than `memory_gb` * 10^9 bytes a process is a mistake.
    After a crash the run is started again at most `restarts` times without a new checkpoint (by default 3, for a lone
    process on a CPU 0: it has no parent then); no sign of life, or a step without an end, for `silence` seconds is one.
    `preflight` tries devices and links before training; by default several GPUs, and tasks of SLURM, do.
    With `submit` it becomes a job of SLURM, and `dry` only shows its script.
    """

    name: str
    dir: str
    seed: int
    samples: int
    every_samples: int
    debug: bool = False
    plan: bool | Literal["json"] = False
    ranks: int | None = None
    tflops: float | None = None
    memory_gb: float | None = None
    restarts: int | None = None
    preflight: bool | None = None
    silence: float = 300.0
    submit: Slurm | None = None
    dry: bool = False

    def __post_init__(self) -> None:
        for key in ("name", "dir"):
            if not getattr(self, key).strip():
                raise ConfigError(f"run.{key} is empty; add run.{key}=VALUE, or leave it out")
        for key in ("samples", "every_samples"):
            if getattr(self, key) < 1:
                raise ConfigError(f"run.{key} must be at least 1, got {getattr(self, key)}")
        if self.restarts is not None and self.restarts < 0:
            raise ConfigError(f"run.restarts must be at least 0, got {self.restarts}")
        if not self.silence >= 2:
            raise ConfigError(f"run.silence must be at least 2 seconds, got {self.silence}: signs come twice in one")
        if self.dry and self.submit is None:
            raise ConfigError("run.dry=true shows a job's script; add run.submit=slurm, or set run.plan=true instead")
        for key in ("ranks", "tflops", "memory_gb"):
            value = getattr(self, key)
            if value is not None and not self.plan:
                raise ConfigError(f"run.{key}={value} says nothing without a plan; add run.plan=true, or leave it out")
            if value is not None and not value > 0:
                raise ConfigError(f"run.{key} must be above 0, got {value}")
