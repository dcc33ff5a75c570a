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

from dit_video import config, launch, log
from dit_video.config import sweep
from dit_video.errors import ConfigError, DataError
from dit_video.slurm import attempt, submit

if TYPE_CHECKING:
    from dit_video.checkpoint import Progress
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
    if launch.WATCH in os.environ:
        watched()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with (
        launch.alarming(),
        config.one_line(debug="run.debug=true" in arguments),
        tempfile.TemporaryDirectory() as hidden,
    ):
        overrides = config.rewrite(arguments, conf=conf, name="train", texts=submit.texts(arguments), paths=PATHS)
        several = not config.MULTIRUN.isdisjoint(arguments)
        command = Command(
            arguments=arguments, conf=conf, allowed=allowed, swept=swept_keys(overrides) if several else ()
        )
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
    return tuple(
        item.key_or_group for item in OverridesParser.create().parse_overrides(values) if item.is_sweep_override()
    )


def train(cfg: DictConfig, *, command: Command) -> None:
    """Check the settings, then train, or ask for a job; a mistake anywhere in it is one line, unless run.debug=true."""
    with config.one_line(debug=bool(OmegaConf.select(cfg, "run.debug", default=False))):
        arguments = place(cfg, command)
        resolved = config.resolve(cfg, conf=command.conf, allowed=command.allowed)
        run = make(OmegaConf.create(resolved["run"]))
        raw = OmegaConf.to_container(cfg, resolve=False)
        if run.plan or (run.submit is not None and not submit.inside()):
            LISTENER.leave(*STOPPING)
        if run.plan:
            foresee(OmegaConf.create(resolved))
        elif run.submit is not None and not submit.inside():
            job = submit.training(run, trainer=resolved["trainer"], command=[sys.argv[0], *arguments])
            check_plan(resolved, job.size.worlds)
            if (saved := config.newest(Path(run.dir))) is not None:
                config.same(saved, raw, run=run.dir)
            command.jobs.append(job)
        else:
            check_plan(resolved, [launch.asked(resolved["trainer"]).size])
            begin(resolved, raw=raw)


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


def begin(resolved: Mapping[str, Any], *, raw: Any) -> None:
    """Train here, or watch the ranks that do."""
    if (job := watch(resolved)) is None:
        LISTENER.listen(*STOPPING)
        fit(OmegaConf.create(resolved), raw=raw)
        return
    if 0 in job.world.ranks:
        attempt.note_requeued(run=job.dir)
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


def check_plan(resolved: Mapping[str, Any], sizes: Sequence[int]) -> None:
    """ConfigError where the parallel plan does not fit so many ranks, or the DiT's heads and tokens; needs no torch."""
    dit = (resolved.get("models") or {}).get("dit")
    for size in sizes:
        plan = make(OmegaConf.create(resolved.get("parallel") or PLAN)).fill(size)
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


def fit(cfg: DictConfig, *, raw: Any) -> None:
    """Make the parts, and train from where the run stands to run.samples; only the first process writes the folder."""
    import torch

    from dit_video import checkpoint
    from dit_video.callbacks import preempt
    from dit_video.parallel import preflight
    from dit_video.pipeline import recipe
    from dit_video.seeds import seed_for

    log.quiet()
    run, accelerator = make(cfg.run), str(cfg.trainer.get("accelerator"))
    look = preflight.begin(wanted=run.preflight, accelerator=accelerator, folder=Path(run.dir))
    datamodule, task = make(cfg.datamodules), make(cfg.tasks)
    trainer, plan = make_trainer(cfg)
    task.plan = plan
    if not any(isinstance(item, preempt.Preempt) for item in trainer.callbacks):
        LISTENER.leave(*STOPPING)
    folder = Path(run.dir)
    with checkpoint.lock(folder) if trainer.global_rank == 0 else nullcontext():
        if look is not None:
            look.gather()
        join(trainer)
        if look is not None:
            look.together()
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


def resume(found: Path | None, *, cfg: DictConfig, raw: Any, fingerprint: str) -> Progress:
    """Where the checkpoint stands; ConfigError if it was made with other settings, DataError if with another
    dataset.
    """
    from dit_video import checkpoint

    if found is None:
        return checkpoint.Progress(step=0, samples_seen=0, fingerprint=fingerprint)
    config.same(found, raw, run=cfg.run.dir)
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


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1:])
