"""How a training begins and ends: what it goes on from, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dit_video import checkpoint, config, log
from dit_video.callbacks.checkpoint import Checkpoint
from dit_video.checkpoint import Progress
from dit_video.errors import ConfigError, DataError
from dit_video.strategy import MeshStrategy


def join(trainer: Any) -> None:
    """Bring the ranks together before Lightning does: each verifies its share of a checkpoint, all take one answer."""
    if isinstance(trainer.strategy, MeshStrategy) and trainer.strategy.cluster_environment.creates_processes_externally:
        trainer.strategy.setup_environment()


def resume(found: Path | None, *, cfg: DictConfig, raw: Any, fingerprint: str) -> Progress:
    """Where the checkpoint stands; ConfigError if it was made with other settings, DataError if with another
    dataset.
    """
    if found is None:
        return Progress(step=0, samples_seen=0, fingerprint=fingerprint)
    config.same(found, raw, run=cfg.run.dir)
    progress = checkpoint.progress(found)
    if progress.fingerprint != fingerprint:
        raise DataError(f"the dataset is not the one that {cfg.run.dir} was trained on; choose another run.dir")
    return progress


def begin_from(found: Path | None, *, trainer: Any) -> None:
    """Tell callbacks.checkpoint what to read; ConfigError where there is something to read and no one who does."""
    savers = [item for item in trainer.callbacks if isinstance(item, Checkpoint)]
    if found is not None and not savers:
        raise ConfigError(f"callbacks.checkpoint is null, so {found} cannot be gone on from; choose another run.dir")
    for item in savers:
        item.found = found


def announce(cfg: DictConfig, *, start: Progress, processes: int, micros: int) -> None:
    """What will happen, before it does."""
    begin = f"resuming at step {start.step}, {start.samples_seen} samples" if start.step else "from the start"
    what = f"{cfg.tasks['_target_']} on {cfg.datamodules['_target_']}"
    log.say(f"{cfg.run.name}: {what}, {begin}, to {cfg.run.samples} samples")
    log.say(f"{processes} process(es), {micros} micro-batch(es) a step, seed {cfg.run.seed}; writes {cfg.run.dir}")
    if off := [name for name, node in (cfg.get("callbacks") or {}).items() if node is None]:
        log.say(f"left out: callbacks.{', '.join(off)}" + ("; nothing will be saved" if "checkpoint" in off else ""))


def conclude(trainer: Any, *, code: int, cfg: DictConfig) -> None:
    """How the training ended, and what it has made."""
    samples, folder = cfg.run.samples, Path(cfg.run.dir)
    seen = next((item.saved for item in trainer.callbacks if isinstance(item, Checkpoint)), samples)
    how = "done" if seen >= samples else f"ended by a setting of trainer.* at {seen} of {samples} samples"
    follows = "goes on" if (folder / "checkpoints").exists() else "begins anew"
    how = f"stopped by a signal; the same command {follows}" if code else how
    made = [str(path) for path in (folder / "checkpoints", folder / "metrics.csv") if path.exists()]
    log.say(f"{cfg.run.name} {how}: {', '.join(made) or 'nothing is saved'}")
