"""All settings of a training, checked and resolved, and its data found, before anything is imported that they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dit_video.config.check import ALLOWED, check, check_groups, missing
from dit_video.config.overrides import options
from dit_video.errors import ConfigError, DataError

NEEDED = {"tasks": "experiment", "datamodules": "experiment", "trainer": "trainer", "run": "run"}


def resolve(cfg: DictConfig, *, conf: Path, allowed: Sequence[str] = ALLOWED) -> dict[str, Any]:
    """The resolved settings, all names, types and required values checked without importing what they name."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(raw, dict)
    check_groups(raw, conf=conf)
    check(raw, allowed=allowed)
    for group, way in NEEDED.items():
        if OmegaConf.select(cfg, group) is None:
            raise ConfigError(f"{group} is not chosen; add {way}=NAME, one of {', '.join(options(conf, way))}")
    for key in missing(raw):
        raise ConfigError(f"{key} is not set; add {key}=VALUE")
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    check(resolved, allowed=allowed)
    check_datasets(resolved["datamodules"].get("dataset"))
    return {str(key): value for key, value in resolved.items()}


def check_datasets(given: str | Sequence[str] | Mapping[str, float] | None) -> None:
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
