"""Train a model, or resume the run if it exists: `python train.py experiment=NAME [key=value ...]`.

`run.plan=true` prints what would happen, and does nothing.

Settings are composed and checked before torch and lightning are imported; then datamodule, task, callbacks, logger and
trainer are made, the run's folder is locked, the newest valid checkpoint is read, and the trainer passes once over the
datamodule's loader.
"""

from __future__ import annotations

import math
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from dit_video import config, launch, log
from dit_video.errors import ConfigError, DataError
from dit_video.signals import LISTENER, STOPPING

if TYPE_CHECKING:
    from dit_video.checkpoint import Progress
    from dit_video.parallel.plan import Plan

CONF = Path(__file__).parent / "conf"
SETTINGS = "settings.yaml"
PLAN = {"_target_": "dit_video.parallel.plan.Plan"}
PATHS = ("run.dir", "run.name", "datamodules.dataset")
MAY_DIFFER = config.Allowed(
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
        "trainer.*",
        "logger.*",
        "callbacks.*",
        "parallel.*",
        "datamodules.dataset.*",  # its fingerprint is compared
        "datamodules.cache",
        "datamodules.cache_gb",
        "datamodules.patience",
        "datamodules.workers",
    ),
    kept=("callbacks.ema", "callbacks.reseed", "callbacks.schedule"),
)


def main(arguments: Sequence[str], *, conf: Path = CONF, allowed: Sequence[str] = config.ALLOWED) -> None:
    """Compose the settings of the command line with Hydra and train; a user's mistake is one line and exit code 2."""
    if launch.WATCH in os.environ:
        watched()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with config.one_line(debug="run.debug=true" in arguments):
        paths = () if {"-m", "--multirun"} & set(arguments) else PATHS  # there, a comma parts the values of a sweep
        sys.argv[1:] = config.rewrite(arguments, conf=conf, name="train", paths=paths)
        job = partial(train, conf=conf, allowed=allowed)
        hydra.main(config_path=str(conf.resolve()), config_name="train", version_base="1.3")(job)()


def train(cfg: DictConfig, *, conf: Path, allowed: Sequence[str]) -> None:
    """Check the settings, then train; a mistake anywhere in it is one line, unless run.debug=true."""
    with config.one_line(debug=bool(OmegaConf.select(cfg, "run.debug", default=False))):
        resolved = check(cfg, conf=conf, allowed=allowed)
        if resolved["run"].get("plan"):
            foresee(OmegaConf.create(resolved))
            return
        check_plan(resolved)
        raw = OmegaConf.to_container(cfg, resolve=False)
        if (job := watch(resolved)) is None:
            fit(OmegaConf.create(resolved), raw=raw)
            return
        settings = OmegaConf.to_yaml(OmegaConf.create({"resolved": resolved, "raw": raw}))
        if code := launch.supervise(job, command=[sys.executable, sys.argv[0]], files={SETTINGS: settings}):
            raise SystemExit(code)


def watch(resolved: Mapping[str, Any]) -> launch.Job | None:
    """The job of a parent that starts the ranks; None where this process trains by itself."""
    patience = resolved["datamodules"].get("patience", 300.0)
    marked = (resolved.get("callbacks") or {}).get("heartbeat") is not None
    run = make(OmegaConf.create(resolved["run"]))
    return launch.job(run, trainer=resolved["trainer"], patience=patience if marked else math.inf)


def watched() -> None:
    """What each rank does that a parent has started: it finds the settings there, composed and checked."""
    launch.begin()
    LISTENER.listen(*STOPPING)
    settings = OmegaConf.load(Path(os.environ[launch.WATCH]) / SETTINGS)
    resolved, raw = (OmegaConf.to_container(settings[name], resolve=False) for name in ("resolved", "raw"))
    with launch.reporting(debug=resolved["run"].get("debug", False)):
        fit(OmegaConf.create(resolved), raw=raw)


def check(cfg: DictConfig, *, conf: Path, allowed: Sequence[str]) -> dict[str, Any]:
    """The resolved settings, all names, types and required values checked without importing what they name."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(raw, dict)
    config.check_groups(raw, conf=conf)
    config.check(raw, allowed=allowed)
    for group, way in {"tasks": "experiment", "datamodules": "experiment", "trainer": "trainer", "run": "run"}.items():
        if OmegaConf.select(cfg, group) is None:
            names = ", ".join(config.options(conf, way))
            raise ConfigError(f"{group} is not chosen; add {way}=NAME, one of {names}")
    for key in config.missing(raw):
        raise ConfigError(f"{key} is not set; add {key}=VALUE")
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    config.check(resolved, allowed=allowed)
    check_datasets(OmegaConf.select(cfg, "datamodules.dataset"))
    return {str(key): value for key, value in resolved.items()}


def check_plan(resolved: Mapping[str, Any]) -> None:
    """ConfigError where the parallel plan does not fit the ranks, or the DiT's heads and tokens; needs no torch."""
    plan = make(OmegaConf.create(resolved.get("parallel") or PLAN)).fill(launch.asked(resolved["trainer"]).size)
    dit = (resolved.get("models") or {}).get("dit")
    length = resolved["datamodules"].get("length", plan.sequence) if dit else None
    plan.check(heads=[dit["heads"]] if dit and "heads" in dit else [], length=length)


def foresee(cfg: DictConfig) -> None:
    """Print what the run would do, for as many ranks as it asks for; nothing is trained, and no file is written.

    ConfigError after that where a rank has less memory than it needs.
    """
    from datamodules import forecast

    run, trainer = make(cfg.run), cfg.trainer
    devices, nodes = trainer.get("devices", "auto"), trainer.get("num_nodes", 1)
    if run.ranks is None and not (isinstance(devices, int) and devices > 0):
        raise ConfigError(f"trainer.devices={devices} says nothing about other machines; add run.ranks=N to run.plan")
    found = forecast.forecast(
        make(cfg.datamodules),
        make(cfg.tasks),
        name=run.name,
        samples=run.samples,
        ranks=run.ranks or devices * nodes,
        plan=make(cfg.parallel) if cfg.get("parallel") else None,
        sizes=cfg.datamodules.get("sizes"),
        precision=trainer.get("precision", "32-true"),
        gpu=trainer.get("accelerator") in ("gpu", "cuda"),
        averages=bool(OmegaConf.select(cfg, "callbacks.ema")),
        tflops=run.tflops,
    )
    log.say(forecast.document(found) if run.plan == "json" else forecast.page(found))
    forecast.fits(found, gigabytes=run.memory_gb)


def check_datasets(given: Any) -> None:
    """DataError for a folder without a finished dataset; URLs are asked later."""
    for name in [given] if isinstance(given, str) else given or ():
        if "://" not in str(name) and not (Path(str(name)) / "dataset.json").is_file():
            if re.search(r":[\d.]+$", str(name)):  # what a shell makes of {A:1,B:0.5}
                raise DataError(
                    f"datamodules.dataset={name} is no folder; several are quoted: 'datamodules.dataset={{A:1,B:0.5}}'"
                )
            raise DataError(
                f"datamodules.dataset={name} is not a finished dataset (no dataset.json); make it with: "
                f"python -m datamodules.prepare step=curate source=DIR dataset={name}"
            )


def fit(cfg: DictConfig, *, raw: Any) -> None:
    """Make the parts, and train from where the run stands to run.samples; only the first process writes the folder."""
    LISTENER.listen(*STOPPING)
    import torch

    from dit_video import checkpoint
    from dit_video.callbacks import preempt
    from dit_video.pipeline import recipe
    from dit_video.seeds import seed_for

    quiet()
    run = make(cfg.run)
    datamodule, task = make(cfg.datamodules), make(cfg.tasks)
    trainer, plan = make_trainer(cfg)
    task.plan = plan
    if not any(isinstance(item, preempt.Preempt) for item in trainer.callbacks):
        LISTENER.leave(*STOPPING)
    folder = Path(run.dir)
    with checkpoint.lock(folder) if trainer.global_rank == 0 else nullcontext():
        join(trainer)
        found = checkpoint.latest(folder / "checkpoints", together=True)
        start = resume(found, cfg=cfg, raw=raw, fingerprint=datamodule.fingerprint)
        if start.samples_seen >= run.samples:
            if trainer.global_rank == 0:
                seen = f"{start.samples_seen} samples in {folder}"
                log.say(f"{run.name} is complete: {seen}; a larger run.samples goes on")
            return
        datamodule.begin(start.step, run.samples, plan.data_rank(trainer.global_rank), plan.data_ranks)
        trainer.accumulate_grad_batches = datamodule.micros
        begin_from(found, trainer=trainer)
        if trainer.global_rank == 0:
            write(folder / "config.yaml", OmegaConf.to_yaml(cfg))
            recipe.keep(folder, datamodule)
            announce(cfg, start=start, processes=trainer.world_size, micros=datamodule.micros)
        if trainer.logger is not None:
            trainer.logger.log_hyperparams(OmegaConf.to_container(cfg))
        torch.manual_seed(seed_for(run.seed, "init"))
        code = preempt.fit(trainer, task, datamodule=datamodule)
    if trainer.global_rank == 0:
        how = outcome(trainer, code=code, samples=run.samples)
        made = [str(path) for path in (folder / "checkpoints", folder / "metrics.csv") if path.exists()]
        log.say(f"{run.name} {how}: {', '.join(made)}")
    if code:
        raise SystemExit(code)


def join(trainer: Any) -> None:
    """Bring the ranks together before Lightning does: each verifies its share of a checkpoint, all take one answer."""
    from dit_video.strategy import MeshStrategy

    if isinstance(trainer.strategy, MeshStrategy) and trainer.strategy.cluster_environment.creates_processes_externally:
        trainer.strategy.setup_environment()


def begin_from(found: Path | None, *, trainer: Any) -> None:
    """Tell callbacks.checkpoint what to read; ConfigError where there is something to read and no one who does."""
    from dit_video.callbacks.checkpoint import Checkpoint

    savers = [item for item in trainer.callbacks if isinstance(item, Checkpoint)]
    if found is not None and not savers:
        raise ConfigError(f"callbacks.checkpoint is null, so {found} cannot be gone on from; choose another run.dir")
    for item in savers:
        item.found = found


def outcome(trainer: Any, *, code: int, samples: int) -> str:
    """How the training ended, in words."""
    from dit_video.callbacks.checkpoint import Checkpoint

    seen = next((item.saved for item in trainer.callbacks if isinstance(item, Checkpoint)), samples)
    if code:
        return "stopped by a signal; the same command goes on"
    return "done" if seen >= samples else f"ended by a setting of trainer.* at {seen} of {samples} samples"


def make(node: DictConfig, **parts: Any) -> Any:
    """What a node's `_target_` makes of its settings and `parts`."""
    return hydra.utils.instantiate(node, _convert_="all", **parts)


def make_trainer(cfg: DictConfig) -> tuple[Any, Plan]:
    """The trainer with callbacks and logger, and the filled parallel plan; ConfigError for what this machine lacks."""
    from dit_video.strategy import MeshStrategy

    callbacks = [make(node) for node in (cfg.get("callbacks") or {}).values() if node is not None]
    logger = make(cfg.logger) if cfg.get("logger") else False
    size = launch.asked(cfg.trainer).size
    plan = make(cfg.get("parallel") or OmegaConf.create(PLAN)).fill(size)
    parts = {"callbacks": callbacks, "logger": logger, **machines(cfg.trainer)}
    if size > 1 and not cfg.trainer.get("strategy"):
        parts["strategy"] = MeshStrategy(plan)
    try:
        trainer = make(cfg.trainer, **parts)
    except hydra.errors.InstantiationException as error:
        raise ConfigError(f"the trainer cannot be made: {error.__cause__}; set trainer=cpu or trainer.*") from error
    if plan.parameter_shards > 1 and not isinstance(trainer.strategy, MeshStrategy):
        raise ConfigError(
            f"trainer.strategy={trainer.strategy.__class__.__name__} makes copies alone; leave trainer.strategy out, "
            "or set parallel.shard=1 parallel.sequence=1"
        )
    return trainer, plan


def machines(trainer: DictConfig) -> dict[str, int]:
    """Devices and machines as torchrun has them, where the settings do not say so."""
    size, local = (int(os.environ.get(name, "0")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    given = (
        OmegaConf.to_container(trainer.devices) if OmegaConf.is_list(trainer.get("devices")) else trainer.get("devices")
    )
    asked = launch.devices(given or "auto", accelerator=str(trainer.get("accelerator"))) if size and local else 0
    if not asked or asked * int(trainer.get("num_nodes") or 1) == size:
        return {}
    return {"devices": local, "num_nodes": size // local}


def resume(found: Path | None, *, cfg: DictConfig, raw: Any, fingerprint: str) -> Progress:
    """Where the checkpoint stands; ConfigError if it was made with other settings, DataError if with another
    dataset.
    """
    from dit_video import checkpoint

    if found is None:
        return checkpoint.Progress(step=0, samples_seen=0, fingerprint=fingerprint)
    saved = OmegaConf.to_container(OmegaConf.load(found / "config.yaml"))
    before = OmegaConf.create(config.as_before(raw, saved, allowed=MAY_DIFFER))
    settings = OmegaConf.to_container(before, resolve=True)
    difference = config.changed(saved, settings, raw, allowed=MAY_DIFFER)
    if difference:
        key, then, now = difference.key, config.show(difference.before), config.show(difference.now)
        raise ConfigError(
            f"{key} is {now} and the run in {cfg.run.dir} has {then}; set it back, or choose another run.dir"
        )
    progress = checkpoint.progress(found)
    if progress.fingerprint != fingerprint:
        raise DataError(f"the dataset is not the one that {cfg.run.dir} was trained on; choose another run.dir")
    return progress


def announce(cfg: DictConfig, *, start: Progress, processes: int, micros: int) -> None:
    """What will happen, before it does."""
    begin = f"resuming at step {start.step}, {start.samples_seen} samples" if start.step else "from the start"
    what = f"{cfg.tasks['_target_']} on {cfg.datamodules['_target_']}"
    log.say(f"{cfg.run.name}: {what}, {begin}, to {cfg.run.samples} samples")
    log.say(f"{processes} process(es), {micros} micro-batch(es) a step, seed {cfg.run.seed}; writes {cfg.run.dir}")
    if off := [name for name, node in (cfg.get("callbacks") or {}).items() if node is None]:
        log.say(f"left out: callbacks.{', '.join(off)}" + ("; nothing will be saved" if "checkpoint" in off else ""))


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that a full disk leaves the one before."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


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
