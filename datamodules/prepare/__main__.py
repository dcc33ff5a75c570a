"""Prepare a dataset: `python -m datamodules.prepare step=NAME key=value ...`.

The keys of a step are the arguments of its function; names and types are checked before it is imported. With
`run.submit=slurm` it becomes an array of jobs over the shards that are missing, and nothing is done here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from datamodules import commands
from dit_video import config, log, signature
from dit_video.errors import ConfigError
from dit_video.slurm import array, submit
from dit_video.slurm.settings import Slurm

CONF = Path(__file__).parents[2] / "conf"
DEBUG = "run.debug"
KEYED = re.compile(r"\+{0,2}([A-Za-z_][\w./]*)=(.*)", flags=re.DOTALL)
RUN = re.compile(r"run[./]submit(\.\w+)*|run\.dry")


def steps() -> dict[str, str]:
    """The function behind each step, from conf/prepare.yaml."""
    nodes = OmegaConf.load(CONF / "prepare.yaml")
    return {
        str(name): node["_target_"]
        for name, node in nodes.items()
        if isinstance(node, DictConfig) and "_target_" in node
    }


def chosen(arguments: Sequence[str], known: Mapping[str, str]) -> str:
    """The step that the command line names; ConfigError where it names none."""
    named = [item.removeprefix("step=") for item in arguments if item.startswith("step=")]
    if not named:
        raise ConfigError(f"no step is chosen; add step=NAME, one of {', '.join(known)}")
    if named[-1] not in known:
        raise ConfigError(f"there is no step {named[-1]!r}; {config.nearest(named[-1], known)}")
    return named[-1]


def rewrite(arguments: Sequence[str], *, step: str, takes: signature.Signature) -> list[str]:
    """Overrides as Hydra wants them: `key=value` becomes `++STEP.key=value`; ConfigError for a key it does not take."""
    flags, found = [item for item in arguments if KEYED.fullmatch(item) is None], []
    for matched in filter(None, map(KEYED.fullmatch, arguments)):
        key, value = matched.groups()
        if key == "step" or key.startswith(("hydra.", "hydra/")):
            found.append(matched[0])
        elif RUN.fullmatch(key):  # a site's own file may lie where the flags say
            texts = submit.texts([matched[0]])
            found += config.rewrite([*flags, matched[0]], conf=CONF, name="prepare", texts=texts)[-1:]
        elif key != DEBUG:
            if key.split(".")[0] not in takes.arguments:
                raise ConfigError(f"there is no {key} in step={step}; {config.nearest(key, takes.arguments)}")
            plain = key in commands.texts(takes) and value != "null"
            found.append(f"++{step}.{key}={config.quote(value) if plain else value}")
    return [*flags, *found]


def show_help(known: Mapping[str, str], arguments: Sequence[str]) -> None:
    """What the steps are, or the keys of the chosen one."""
    named = [item.removeprefix("step=") for item in arguments if item.startswith("step=")]
    if not named:
        log.say(f"python -m datamodules.prepare step=NAME key=value ...\nsteps: {', '.join(known)}")
        return
    log.say("\n".join(commands.described(commands.function(known[chosen(arguments, known)]))))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A step with what is set of it, what is not, and the command line."""

    step: str
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any]
    arguments: Sequence[str]


def job_of(cfg: DictConfig) -> Slurm | None:
    """What SLURM is to be told, if the step is to be a job; ConfigError for settings of one that is not."""
    raw = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(raw, dict)
    run = {"run": raw["run"]}
    config.check_groups(run, conf=CONF, name="prepare")
    config.check(run)
    if not (given := raw["run"].get("submit")):
        if raw["run"]["dry"]:
            raise ConfigError("run.dry=true shows the script of a job; add run.submit=slurm, or leave it out")
        return None
    return Slurm(**{key: value for key, value in given.items() if key != "_target_"})


def stage(asked: Asked, slurm: Slurm) -> array.Stage:
    """The array that does the step, its settings and inputs checked."""
    from datamodules.prepare import extent

    if "part" in asked.settings:
        raise ConfigError("part= is what the elements of the array are told; leave it out, or leave run.submit out")
    found = extent.STEPS[asked.step]({**asked.defaults, **asked.settings})
    paths = [Path(value).absolute() for value in asked.settings.values() if isinstance(value, str)]
    return array.Stage(
        name="-".join([asked.step, *found.name.split("/")]).rstrip("-"),
        dataset=found.dataset,
        command=("-m", "datamodules.prepare", *asked.arguments),
        shards=found.shards,
        missing=found.missing,
        ended=found.ended,
        parted=found.parted,
        mounts=tuple(path for path in paths if path.exists()),
        slurm=slurm,
    )


def main(arguments: Sequence[str]) -> None:
    """Compose the settings and do the step; a user's mistake is one line and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    debug = f"{DEBUG}=true" in arguments
    with config.one_line(debug=debug):
        known = steps()
        if {"--help", "-h"} & set(arguments):
            show_help(known, arguments)
            return
        step = chosen(arguments, known)
        takes = signature.read(known[step])
        if takes is None:
            raise ConfigError(f"step={step} is not there: {known[step]} does not exist")
        import hydra

        overrides = rewrite(arguments, step=step, takes=takes)

        def job(cfg: DictConfig) -> None:
            with config.one_line(debug=debug):
                node = OmegaConf.to_container(cfg[step], resolve=True)
                assert isinstance(node, dict)
                settings = {str(key): value for key, value in node.items() if key != "_target_"}
                commands.check(settings, takes, name=f"step={step}")
                log.setup()
                if (slurm := job_of(cfg)) is not None:
                    given = [item for item in arguments if not RUN.fullmatch(item.lstrip("+").partition("=")[0])]
                    asked = Asked(step=step, settings=settings, defaults=commands.defaults(takes), arguments=given)
                    array.hand_over(stage(asked, slurm), dry=cfg.run.dry)
                    return
                hydra.utils.get_method(known[step])(**settings)

        sys.argv[1:] = overrides
        hydra.main(config_path=str(CONF.resolve()), config_name="prepare", version_base="1.3")(job)()


if __name__ == "__main__":
    main(sys.argv[1:])
