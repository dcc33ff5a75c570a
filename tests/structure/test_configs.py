"""Every YAML under conf/ composes, names targets that exist with arguments that bind, and stands where its key says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dit_video import config

CONF = Path(__file__).resolve().parents[2] / "conf"
WITHOUT_PACKAGE = {"trainer", "logger", "run", "experiment", "hydra"}
EXPERIMENT_LINES = 40
ROOTS = sorted(path.stem for path in CONF.glob("*.yaml"))
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml") if path.parent != CONF)
OPTIONS = [path for path in FILES if path.parts[0] not in {"experiment", "hydra"}]
EXPERIMENTS = [path for path in FILES if path.parts[0] == "experiment"]


def composed(name: str, *overrides: str) -> dict[str, Any]:
    """The config, unresolved: what is missing or interpolated is for the run to say."""
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        raw = OmegaConf.to_container(compose(name, overrides=list(overrides)), resolve=False)
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def root_of(path: Path) -> str:
    """The primary config whose defaults list has the file's group; train where several have."""
    group = path.parent.as_posix()
    holders = [name for name in ROOTS if f"- {group}:" in (CONF / f"{name}.yaml").read_text(encoding="utf-8")]
    assert holders, f"no primary config has the group {group}"
    return "train" if "train" in holders else holders[0]


@pytest.mark.parametrize("name", ROOTS)
def test_primary_configs_compose_and_bind(name: str) -> None:
    raw = composed(name)
    config.check_groups(raw, conf=CONF, name=name)
    config.check(raw, complete=False)


@pytest.mark.parametrize("path", OPTIONS, ids=str)
def test_every_option_composes_and_binds(path: Path) -> None:
    group = path.parent.as_posix()
    raw = composed(root_of(path), f"{group}={path.stem}")
    config.check(raw, complete=False)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=str)
def test_every_experiment_is_a_small_diff_that_composes(path: Path) -> None:
    text = (CONF / path).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) <= EXPERIMENT_LINES, f"{path} has {len(lines)} lines; an experiment is a diff"
    assert "# @package _global_" in text
    name = path.relative_to("experiment").with_suffix("").as_posix()
    raw = composed("train", f"experiment={name}")
    config.check_groups(raw, conf=CONF)
    config.check(raw, complete=False)
    assert raw["tasks"], f"{path} chooses no task"
    assert raw["datamodules"], f"{path} chooses no datamodule"


@pytest.mark.parametrize("path", OPTIONS, ids=str)
def test_config_path_is_package_path(path: Path) -> None:
    if path.parts[0] in WITHOUT_PACKAGE:
        return
    content = yaml.safe_load((CONF / path).read_text(encoding="utf-8")) or {}
    assert "@package" not in (CONF / path).read_text(encoding="utf-8"), f"{path} moves itself elsewhere"
    package = ".".join(path.parent.parts)
    nodes = [content] if "_target_" in content else [node for node in content.values() if isinstance(node, dict)]
    for target in [node["_target_"] for node in nodes if "_target_" in node]:
        expected = (f"{package}.", f"dit_video.{package}.")
        assert target.startswith(expected), f"{path} is {package} and targets {target}"
