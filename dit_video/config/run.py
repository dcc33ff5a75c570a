"""What a training run is called, where it lives and how long it is: the settings under `run`."""

from __future__ import annotations

from dataclasses import dataclass

from dit_video.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run: where it lives, how long it is, and the seed everything random is keyed by.

    `samples` is the run's length and `every_samples` the interval of checkpoints, both in samples seen by all ranks.
    """

    name: str
    dir: str
    seed: int
    samples: int
    every_samples: int
    debug: bool = False

    def __post_init__(self) -> None:
        for key in ("name", "dir"):
            if not getattr(self, key).strip():
                raise ConfigError(f"run.{key} is empty; add run.{key}=VALUE, or leave it out")
        for key in ("samples", "every_samples"):
            if getattr(self, key) < 1:
                raise ConfigError(f"run.{key} must be at least 1, got {getattr(self, key)}")
