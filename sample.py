"""Sample from a run: `python sample.py checkpoint=RUN prompt="..." size=48x32 seconds=2 out=a.mp4 [key=value ...]`.

Text to video by default; `image=` starts from a picture; `video= extend=forward|backward` goes on before or after it;
`prompts=FILE` makes one video a line into the folder `out`. `run.submit=slurm` makes a job of it.
"""

from __future__ import annotations

import inspect
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from dit_video import config, log, signature
from dit_video.config import sweep
from dit_video.errors import ConfigError
from dit_video.slurm import submit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONF = Path(__file__).parent / "conf"
TEXTS = ("checkpoint", "prompt", "prompts", "image", "video", "out", "vae")
COMMAND = "dit_video.pipeline.command.sample"
ASKED = "dit_video.pipeline.command.asked"


def main(arguments: Sequence[str]) -> None:
    """Compose the settings of the command line with Hydra and sample; a user's mistake is one line and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with config.one_line(debug="run.debug=true" in arguments):
        if {"--help", "-h"} & set(arguments):
            log.say(f"{__doc__}\n{inspect.getdoc(hydra.utils.get_method(COMMAND))}")
            return
        sys.argv[1:] = config.rewrite(arguments, conf=CONF, name="sample", texts=[*TEXTS, *submit.texts(arguments)])
        hydra.main(config_path=str(CONF.resolve()), config_name="sample", version_base="1.3")(
            partial(run, arguments=arguments)
        )()


def run(cfg: DictConfig, *, arguments: Sequence[str]) -> None:
    """Check the settings before torch is imported, then make the videos, or ask for a job that does."""
    with config.one_line(debug=bool(cfg.run.debug)):
        node = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(node, dict)
        settings = {str(key): value for key, value in node.items() if key != "run"}
        check(settings)
        config.check_groups(node, conf=CONF, name="sample")
        config.check({"run": node["run"]})
        log.setup()
        if node["run"].get("submit") is not None and not submit.inside():
            hand_over(settings, cfg=cfg, arguments=arguments)
            return
        make = hydra.utils.get_method(COMMAND)
        make(**settings | {"sampling": hydra.utils.instantiate(settings["sampling"])})


def hand_over(settings: Mapping[str, Any], *, cfg: DictConfig, arguments: Sequence[str]) -> None:
    """Check what is asked for, and submit it."""
    asked = signature.read(ASKED)
    assert asked is not None
    _, paths = hydra.utils.get_method(ASKED)(**{key: settings[key] for key in asked.arguments})
    work = Path(settings["out"] or "outputs/samples") if settings["prompts"] else paths[0]
    slurm = hydra.utils.instantiate(cfg.run.submit, _convert_="all")
    command = [sys.argv[0], *sweep.command(arguments, point={})]
    submit.hand_over([submit.sampling(slurm, work=work, device=settings["device"], command=command, dry=cfg.run.dry)])


def check(settings: Mapping[str, Any]) -> None:
    """ConfigError for a missing key or a value of the wrong type."""
    takes = signature.read(COMMAND)
    assert takes is not None
    for key in config.missing(settings):
        raise ConfigError(f"{key} is not set; add {key}=VALUE")
    for key, value in settings.items():
        if expected := config.mismatch(value, takes.arguments[key].annotation):
            raise ConfigError(f"{key} must be {expected}, got {value!r}")
    config.check({"sampling": settings["sampling"]})


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1:])
