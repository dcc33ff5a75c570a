from __future__ import annotations

import pytest

from dit_video import config
from dit_video.errors import ConfigError
from dit_video.slurm.settings import Slurm


def test_a_run_needs_samples() -> None:
    with pytest.raises(ConfigError, match=r"run\.samples"):
        config.Run(name="a", dir="b", seed=0, samples=0, every_samples=1)


@pytest.mark.parametrize("key", ["ranks", "tflops"])
def test_what_only_a_plan_reads_needs_one(key: str) -> None:
    given = {"name": "a", "dir": "b", "seed": 0, "samples": 1, "every_samples": 1, key: 2}
    assert getattr(config.Run(**given, plan=True), key) == 2
    with pytest.raises(ConfigError, match=rf"run\.{key}=2 .* add run\.plan=true"):
        config.Run(**given)
    with pytest.raises(ConfigError, match=rf"run\.{key} must be above 0"):
        config.Run(**{**given, key: 0}, plan="json")


@pytest.mark.parametrize(("key", "value"), [("restarts", -1), ("silence", 1.0), ("silence", float("nan"))])
def test_watching_has_its_bounds(key: str, value: float) -> None:
    given = {"name": "a", "dir": "b", "seed": 0, "samples": 1, "every_samples": 1}
    with pytest.raises(ConfigError, match=rf"run\.{key} must be at least"):
        config.Run(**given, **{key: value})


def test_a_script_is_shown_of_a_job_alone() -> None:
    given = {"name": "a", "dir": "b", "seed": 0, "samples": 1, "every_samples": 1}
    assert config.Run(**given, dry=True, submit=Slurm()).dry
    with pytest.raises(ConfigError, match=r"run\.dry=true .* add run\.submit=slurm"):
        config.Run(**given, dry=True)
