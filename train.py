"""Train a model, or resume the run if it exists: `python train.py experiment=NAME [key=value ...]`.

`run.plan=true` prints what would happen, and does nothing. `run.submit=slurm` makes a job of it. `-m key=a,b` does it
once for each value, in a folder each.

Settings are composed and checked before torch and lightning are imported; then datamodule, task, callbacks, logger and
trainer are made, the run's folder is locked, the newest valid checkpoint is read, and the trainer passes once over the
datamodule's loader.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video.signals import LISTENER, STOPPING

if __name__ == "__main__":
    LISTENER.listen(*STOPPING)  # what follows takes seconds, in which a signal must not be lost, nor end a task

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from dit_video import config, launch, log, whole
from dit_video.config import sweep
from dit_video.errors import ConfigError
from dit_video.slurm import attempt, submit

if TYPE_CHECKING:
    from dit_video.parallel.plan import Plan

CONF = Path(__file__).parent / "conf"
SETTINGS = "settings.yaml"
PLAN = {"_target_": "dit_video.parallel.plan.Plan"}
PATHS = ("run.dir", "run.name", "datamodules.dataset")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What was typed, the keys that it sweeps, and what comes of it: jobs to submit, and the folders of sweeps."""

    arguments: Sequence[str]
    conf: Path
    allowed: Sequence[str]
    swept: tuple[str, ...] = ()
    jobs: list[submit.Request] = field(default_factory=list)
    sweeps: list[str] = field(default_factory=list)


def main(arguments: Sequence[str], *, conf: Path = CONF, allowed: Sequence[str] = config.ALLOWED) -> None:
    """Compose the settings of the command line with Hydra and train; a user's mistake is one line and exit code 2."""
    LISTENER.listen(*STOPPING)
    if launch.WATCH in os.environ:
        watched()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    several = not config.MULTIRUN.isdisjoint(arguments)
    with (
        launch.alarming(),
        config.one_line(debug="run.debug=true" in arguments),
        tempfile.TemporaryDirectory() if several else nullcontext() as hidden,
    ):
        overrides = config.rewrite(arguments, conf=conf, name="train", texts=submit.texts(arguments), paths=PATHS)
        swept = swept_keys(overrides) if several else ()
        command = Command(arguments=arguments, conf=conf, allowed=allowed, swept=swept)
        sys.argv[1:] = [*overrides, f"hydra.sweep.dir={hidden}"] if several else overrides
        job = partial(train, command=command)
        hydra.main(config_path=str(conf.resolve()), config_name="train", version_base="1.3")(job)()
        if command.jobs:
            submit.hand_over(command.jobs)
        for folder in dict.fromkeys(command.sweeps):
            log.say(f"all of them: python -m dit_video.runs status {folder}")


def swept_keys(overrides: Sequence[str]) -> tuple[str, ...]:
    """The keys that have several values."""
    values = [item for item in overrides if not item.startswith("-") and "=" in item]
    found = OverridesParser.create().parse_overrides(values)
    return tuple(item.key_or_group for item in found if item.is_sweep_override())


def train(cfg: DictConfig, *, command: Command) -> None:
    """Check the settings, then train, or ask for a job; a mistake anywhere in it is one line, unless run.debug=true."""
    with config.one_line(debug=bool(OmegaConf.select(cfg, "run.debug", default=False))):
        arguments = place(cfg, command)
        resolved = config.resolve(cfg, conf=command.conf, allowed=command.allowed)
        run = make(OmegaConf.create(resolved["run"]))
        raw = OmegaConf.to_container(cfg, resolve=False)
        trains = not run.plan and (run.submit is None or submit.inside())
        if not trains:
            LISTENER.leave(*STOPPING)
        if run.plan:
            foresee(OmegaConf.create(resolved))
        elif trains:
            check_plan(resolved, [launch.asked(resolved["trainer"]).size])
            begin(run, resolved, raw=raw)
        else:
            job = submit.training(run, trainer=resolved["trainer"], command=[sys.argv[0], *arguments])
            check_plan(resolved, job.size.worlds)
            if not config.complete(run, raw):
                command.jobs.append(job)


def place(cfg: DictConfig, command: Command) -> list[str]:
    """The arguments that do alone what is done here; a point of a sweep gets a name and a folder of its own."""
    point = sweep.point(HydraConfig.get().overrides.task, command.swept) if command.swept else {}
    if not point or not cfg.get("run") or OmegaConf.is_missing(cfg.run, "name"):
        return sweep.command(command.arguments, point={})
    raw = str(OmegaConf.to_container(cfg.run, resolve=False)["dir"])
    command.sweeps.append(cfg.run.dir)
    name, folder = sweep.place(cfg.run.name, cfg.run.dir, raw=raw, point=point)
    cfg.run.name, cfg.run.dir = name, folder
    return sweep.command(command.arguments, point=point, name=name, folder=folder)


def begin(run: config.Run, resolved: Mapping[str, Any], *, raw: Any) -> None:
    """Train here, or watch the ranks that do."""
    patience = resolved["datamodules"].get("patience", 300.0)
    marked = (resolved.get("callbacks") or {}).get("heartbeat") is not None
    job = launch.job(run, trainer=resolved["trainer"], patience=patience if marked else math.inf)
    if job is None:
        fit(OmegaConf.create(resolved), raw=raw)
        return
    if 0 in job.world.ranks:
        attempt.look_back(run=job.dir)
    settings = OmegaConf.to_yaml(OmegaConf.create({"resolved": resolved, "raw": raw}))
    if code := launch.supervise(job, command=[sys.executable, sys.argv[0]], files={SETTINGS: settings}):
        raise SystemExit(code)


def watched() -> None:
    """What each rank does that a parent has started: it finds the settings there, composed and checked."""
    launch.begin()
    settings = OmegaConf.load(Path(os.environ[launch.WATCH]) / SETTINGS)
    resolved, raw = (OmegaConf.to_container(settings[name], resolve=False) for name in ("resolved", "raw"))
    with launch.reporting(debug=resolved["run"].get("debug", False)):
        fit(OmegaConf.create(resolved), raw=raw)


def check_plan(resolved: Mapping[str, Any], sizes: Sequence[int]) -> None:
    """ConfigError where the parallel plan does not fit so many ranks, or the DiT's heads and tokens; needs no torch."""
    dit = (resolved.get("models") or {}).get("dit")
    for size in sizes:
        plan = make(OmegaConf.create(resolved.get("parallel") or PLAN)).fill(size)
        length = resolved["datamodules"].get("length", plan.sequence) if dit else None
        plan.check(heads=[dit["heads"]] if dit and "heads" in dit else [], length=length)


def foresee(cfg: DictConfig) -> None:
    """Print what the run would do, for as many ranks as it asks for; nothing is trained, and no file is written."""
    from datamodules import forecast

    plan = make(cfg.parallel) if cfg.get("parallel") else None
    forecast.show(make(cfg.run), data=make(cfg.datamodules), task=make(cfg.tasks), plan=plan, settings=cfg)


def fit(cfg: DictConfig, *, raw: Any) -> None:
    """Make the parts, and train from where the run stands to run.samples; only the first process writes the folder."""
    import torch

    from dit_video import checkpoint, start
    from dit_video.callbacks import preempt
    from dit_video.parallel import preflight
    from dit_video.pipeline import recipe
    from dit_video.seeds import seed_for

    log.quiet()
    run, accelerator, devices = make(cfg.run), str(cfg.trainer.get("accelerator")), cfg.trainer.get("devices")
    look = preflight.begin(wanted=run.preflight, accelerator=accelerator, devices=devices, folder=Path(run.dir))
    datamodule, task = make(cfg.datamodules), make(cfg.tasks)
    trainer, plan = make_trainer(cfg)
    task.plan = plan
    if not any(isinstance(item, preempt.Preempt) for item in trainer.callbacks):
        LISTENER.leave(*STOPPING)
    folder = Path(run.dir)
    with checkpoint.lock(folder) if trainer.global_rank == 0 else nullcontext():
        if look is not None:
            look.gather()
        start.join(trainer)
        if look is not None:
            look.together()
        found = checkpoint.latest(folder / "checkpoints", together=True)
        stands = start.resume(found, cfg=cfg, raw=raw, fingerprint=datamodule.fingerprint)
        if stands.samples_seen >= run.samples:
            if trainer.global_rank == 0:
                seen = f"{stands.samples_seen} samples in {folder}"
                log.say(f"{run.name} is complete: {seen}; a larger run.samples goes on")
            return
        datamodule.begin(stands.step, run.samples, plan.data_rank(trainer.global_rank), plan.data_ranks)
        trainer.accumulate_grad_batches = datamodule.micros
        start.begin_from(found, trainer=trainer)
        if trainer.global_rank == 0:
            whole.write(folder / "config.yaml", OmegaConf.to_yaml(cfg))
            recipe.keep(folder, datamodule)
            start.announce(cfg, start=stands, processes=trainer.world_size, micros=datamodule.micros)
        if trainer.logger is not None:
            trainer.logger.log_hyperparams(OmegaConf.to_container(cfg))
        torch.manual_seed(seed_for(run.seed, "init"))
        code = preempt.fit(trainer, task, datamodule=datamodule)
    if trainer.global_rank == 0:
        start.conclude(trainer, code=code, cfg=cfg)
    if code:
        raise SystemExit(code)


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
    parts = {"callbacks": callbacks, "logger": logger, **launch.found(OmegaConf.to_container(cfg.trainer))}
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


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1:])
