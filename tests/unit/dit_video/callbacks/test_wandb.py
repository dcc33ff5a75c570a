from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dit_video.callbacks.wandb import Wandb, begun
from dit_video.errors import ConfigError


class Run:
    """A run of the fake wandb."""

    def __init__(self, **about: Any) -> None:
        self.about, self.rows, self.code = about, [], -1

    def log(self, row: dict[str, Any], step: int) -> None:
        self.rows.append((step, row))

    def finish(self, exit_code: int) -> None:
        self.code = exit_code


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module as far as the logger looks at it."""
    errors = SimpleNamespace(Error=type("Error", (Exception,), {}))
    fake = SimpleNamespace(init=Run, Settings=lambda **values: values, errors=errors)
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "wandb.errors", errors)  # type: ignore[arg-type]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return fake


def test_offline_is_quiet_and_stays_in_the_folder(tmp_path: Path, wandb: Any) -> None:
    logger = Wandb(dir=str(tmp_path), name="a")
    logger.log_metrics({"loss": 0.5}, step=40)
    run = logger.experiment
    assert run.about["mode"] == "offline"
    assert run.about["settings"]["silent"]
    assert run.about["dir"] == str(tmp_path)
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    assert os.environ["WANDB_CACHE_DIR"].startswith(str(tmp_path))
    assert run.rows == [(40, {"loss": 0.5})]


@pytest.mark.parametrize(("status", "code"), [("success", 0), ("failed", 1)])
def test_the_end_of_training_closes_it(tmp_path: Path, wandb: Any, status: str, code: int) -> None:
    logger = Wandb(dir=str(tmp_path), name="a")
    logger.finalize(status)
    run = logger.experiment
    logger.finalize(status)
    assert run.code == code


@pytest.mark.parametrize("kind", ["run", "offline-run"])
def test_a_resumed_run_goes_on_under_its_id(tmp_path: Path, wandb: Any, kind: str) -> None:
    assert begun(tmp_path) is None
    assert Wandb(dir=str(tmp_path), name="a").experiment.about["id"] is None
    for name in (f"{kind}-20260102_030405-abc123", "latest-run", "cache"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert Wandb(dir=str(tmp_path), name="a").experiment.about["id"] == "abc123"
    online = Wandb(dir=str(tmp_path), name="a", offline=False).experiment.about
    assert (online["id"], online["resume"]) == ("abc123", "allow")


@pytest.mark.parametrize(("offline", "hint"), [(True, "logger=csv"), (False, "wandb login")])
def test_a_wandb_that_does_not_start_is_one_line(tmp_path: Path, wandb: Any, offline: bool, hint: str) -> None:
    def fail(**_about: Any) -> None:
        raise wandb.errors.Error("no service")

    wandb.init = fail
    with pytest.raises(ConfigError, match=f"no service; .*{hint}"):
        _ = Wandb(dir=str(tmp_path), name="a", offline=offline).experiment


def test_without_wandb_the_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="logger=csv"):
        Wandb(dir=str(tmp_path), name="a")
