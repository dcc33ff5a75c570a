"""The settings of a run against those that its checkpoint was made with: what may differ, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dit_video import log, saves
from dit_video.config.compare import Allowed, as_before, changed
from dit_video.config.mistakes import show
from dit_video.config.run import Run
from dit_video.errors import ConfigError

MAY_DIFFER = Allowed(
    keys=(
        "run.debug",
        "run.plan",
        "run.ranks",
        "run.tflops",
        "run.memory_gb",
        "run.dir",
        "run.name",
        "run.samples",
        "run.every_samples",
        "run.restarts",
        "run.silence",
        "run.preflight",
        "run.submit.*",
        "run.dry",
        "trainer.*",
        "logger.*",
        "callbacks.*",
        "parallel.*",
        "datamodules.dataset.*",  # its fingerprint is compared
        "datamodules.cache",
        "datamodules.cache_gb",
        "datamodules.patience",
        "datamodules.workers",
        "models.dit.attention",
    ),
    kept=("callbacks.ema", "callbacks.reseed", "callbacks.schedule"),
)


def same(checkpoint: Path, raw: Any, *, run: str) -> None:
    """ConfigError where the unresolved settings `raw` are not those of the checkpoint in the folder `run`."""
    saved = OmegaConf.to_container(OmegaConf.load(checkpoint / "config.yaml"))
    settings = OmegaConf.to_container(OmegaConf.create(as_before(raw, saved, allowed=MAY_DIFFER)), resolve=True)
    if found := changed(saved, settings, raw, allowed=MAY_DIFFER):
        raise ConfigError(
            f"{found.key} is {show(found.now)} and the run in {run} has {show(found.before)}; "
            "set it back, or choose another run.dir"
        )


def complete(run: Run, raw: Any) -> bool:
    """Whether nothing is left to be trained, which is said; ConfigError where the run has begun with other settings.

    A checkpoint that lacks something does not count: the run goes on from the one before it.
    """
    saved = next((item for item in saves.checkpoints(Path(run.dir)) if item.whole), None)
    if saved is None:
        return False
    same(saved.path, raw, run=run.dir)
    seen = saved.samples_seen
    if seen >= run.samples:
        log.say(f"{run.name} is complete: {seen} samples in {run.dir}; a larger run.samples goes on")
    return seen >= run.samples
