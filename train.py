"""Train a model, or resume the run if it exists: `python train.py experiment=NAME [key=value ...]`.

Settings are composed and checked before torch and lightning are imported; then datamodule, task, callbacks, logger and
trainer are made, the newest valid checkpoint is read, and the trainer passes once over the datamodule's loader.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from dit_video import config, log
from dit_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dit_video.checkpoint import Progress

CONF = Path(__file__).parent / "conf"
REQUEUE = 75
MAY_DIFFER = (
    "run.debug",
    "run.dir",
    "run.name",
    "run.samples",
    "run.every_samples",
    "trainer.*",
    "logger.*",
    "callbacks.*",
    "parallel.*",
    "datamodules.workers",
)


def main(arguments: Sequence[str], *, conf: Path = CONF, allowed: Sequence[str] = config.ALLOWED) -> None:
    """Compose the settings of the command line with Hydra and train; a user's mistake is one line and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with config.one_line(debug="run.debug=true" in arguments):
        sys.argv[1:] = config.rewrite(arguments, conf=conf, name="train")
        job = partial(train, conf=conf, allowed=allowed)
        hydra.main(config_path=str(conf.resolve()), config_name="train", version_base="1.3")(job)()


def train(cfg: DictConfig, *, conf: Path, allowed: Sequence[str]) -> None:
    """Check the settings, then train; a mistake anywhere in it is one line, unless run.debug=true."""
    with config.one_line(debug=bool(OmegaConf.select(cfg, "run.debug", default=False))):
        resolved = check(cfg, conf=conf, allowed=allowed)
        fit(OmegaConf.create(resolved), raw=OmegaConf.to_container(cfg, resolve=False))


def check(cfg: DictConfig, *, conf: Path, allowed: Sequence[str]) -> dict[str, Any]:
    """The resolved settings, all names, types and required values checked without importing what they name."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(raw, dict)
    config.check_groups(raw, conf=conf)
    config.check(raw, allowed=allowed)
    for group in ("tasks", "datamodules"):
        if OmegaConf.select(cfg, group) is None:
            raise ConfigError(
                f"nothing is chosen to train; add experiment=NAME, or {group}=NAME ({options(conf, group)})"
            )
    for key in config.missing(raw):
        raise ConfigError(f"{key} is not set; add {key}=VALUE")
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    config.check(resolved, allowed=allowed)
    dataset = OmegaConf.select(cfg, "datamodules.dataset")
    if dataset is not None and not (Path(dataset) / "dataset.json").is_file():
        raise DataError(
            f"datamodules.dataset={dataset} is not a finished dataset (no dataset.json); make it with: "
            f"python -m datamodules.prepare step=curate source=DIR dataset={dataset}"
        )
    return {str(key): value for key, value in resolved.items()}


def options(conf: Path, group: str) -> str:
    """The names a group offers."""
    return ", ".join(sorted(path.stem for path in (conf / group).glob("*.yaml")))


def fit(cfg: DictConfig, *, raw: Any) -> None:
    """Make the parts, find where the run stands, and train from there to run.samples."""
    import torch

    from dit_video import checkpoint
    from dit_video.callbacks.preempt import Preempt
    from dit_video.seeds import seed_for

    quiet()
    run = hydra.utils.instantiate(cfg.run)
    make = partial(hydra.utils.instantiate, _convert_="all")
    folder = Path(run.dir)
    datamodule = make(cfg.datamodules)
    found = checkpoint.latest(folder / "checkpoints")
    start = resume(found, cfg=cfg, raw=raw, fingerprint=datamodule.fingerprint)
    torch.manual_seed(seed_for(run.seed, "init"))
    task = make(cfg.tasks)
    callbacks = [make(node) for node in (cfg.callbacks or {}).values() if node is not None]
    logger = make(cfg.logger) if cfg.logger else False
    trainer = make(cfg.trainer, callbacks=callbacks, logger=logger)
    make(cfg.parallel).fill(trainer.world_size)
    first = trainer.global_rank == 0
    if start.samples_seen >= run.samples:
        if first:
            log.say(f"{run.name} is complete: {start.samples_seen} samples in {folder}; a larger run.samples goes on")
        return
    datamodule.begin(start.step, run.samples, trainer.global_rank, trainer.world_size)
    trainer.accumulate_grad_batches = datamodule.micros
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg), encoding="utf-8")
        announce(cfg, start=start, processes=trainer.world_size, micros=datamodule.micros)
    trainer.fit(task, datamodule=datamodule)
    stopped = any(isinstance(item, Preempt) and item.stopped for item in callbacks)
    if first:
        state = "stopped by a signal; the same command goes on" if stopped else "done"
        log.say(f"{run.name} {state}: {folder}/checkpoints, {folder}/metrics.csv")
    if stopped:
        raise SystemExit(REQUEUE)


def resume(found: Path | None, *, cfg: DictConfig, raw: Any, fingerprint: str) -> Progress:
    """Where the checkpoint stands; ConfigError if it was made with other settings, DataError if with another
    dataset.
    """
    from dit_video import checkpoint

    if found is None:
        return checkpoint.Progress(step=0, samples_seen=0, fingerprint=fingerprint)
    saved = OmegaConf.to_container(OmegaConf.load(found / "config.yaml"))
    settings = OmegaConf.to_container(cfg)
    key = config.changed(saved, settings, raw, allowed=MAY_DIFFER)
    if key:
        then, now = (OmegaConf.select(OmegaConf.create(item), key) for item in (saved, settings))
        raise ConfigError(
            f"{key} is {now} and the run in {cfg.run.dir} has {then}; set it back, or choose another run.name"
        )
    progress = checkpoint.progress(found)
    if progress.fingerprint != fingerprint:
        raise DataError(f"the dataset is not the one that {cfg.run.dir} was trained on; choose another run.name")
    return progress


def announce(cfg: DictConfig, *, start: Progress, processes: int, micros: int) -> None:
    """What will happen, before it does."""
    begin = f"resuming at step {start.step}, {start.samples_seen} samples" if start.step else "from the start"
    what = f"{cfg.tasks['_target_']} on {cfg.datamodules['_target_']}"
    log.say(f"{cfg.run.name}: {what}, {begin}, to {cfg.run.samples} samples")
    log.say(f"{processes} process(es), {micros} micro-batch(es) a step, seed {cfg.run.seed}; writes {cfg.run.dir}")


def quiet() -> None:
    """Lightning's banners and tips are not for our users; warnings that say something stay."""
    import logging

    log.setup()
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (
        ".*does not have many workers.*",
        ".*treespec.*",
        ".*`srun` command is available.*",
        ".*IterableDataset.*__len__.*",
    ):
        warnings.filterwarnings("ignore", message=text)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1:])
