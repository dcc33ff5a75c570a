from __future__ import annotations

from typing import Any

import pytest

from dit_video.errors import ConfigError
from dit_video.slurm.settings import Slurm, minutes


@pytest.mark.parametrize("time", ["90", "30:00", "1:00:00", "1-0", "1-12:00", "2-12:00:00", "unlimited"])
def test_times_as_sbatch_takes_them(time: str) -> None:
    assert Slurm(time=time).time == time


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("90", 90),
        ("30:30", 30.5),
        ("01:30:00", 90),
        ("1-2", 26 * 60),
        ("1-0:05", 24 * 60 + 5),
        ("1-00:00:30", 24 * 60 + 0.5),
        ("UNLIMITED", float("inf")),
    ],
)
def test_times_are_minutes(time: str, expected: float) -> None:
    assert minutes(time) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"time": "1:2:3:4"}, r"run\.submit\.time=1:2:3:4 is no time; expected"),
        ({"time": "soon"}, "is no time"),
        ({"time": 43200}, "quote it: time: '12:00:00'"),  # what YAML makes of it without quotes
        ({"memory": "much"}, r"run\.submit\.memory=much is no size"),
        ({"grace": 0}, r"run\.submit\.grace must be at least 1"),
        ({"grace": 3600, "time": "1:00:00"}, r"run\.submit\.grace=3600 seconds are all of run\.submit\.time=1:00:00"),
        ({"min_nodes": 0}, r"run\.submit\.min_nodes must be at least 1"),
        ({"mounts": ["/a:/a"]}, r"add run\.submit\.container=IMAGE"),
        ({"setup": ["a\nb"]}, r"run\.submit\.setup takes lines"),
        ({"options": ["mail"]}, "expected --NAME=VALUE"),
        ({"environment": {"a b": "1"}}, "'a b' is no name of a variable"),
    ],
)
def test_what_sbatch_would_not_take_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Slurm(**given)


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "apikey"])
def test_secrets_are_named_and_not_written(name: str) -> None:
    assert Slurm(environment={name: None, "NCCL_DEBUG": "INFO"})
    with pytest.raises(ConfigError, match=rf"set run\.submit\.environment\.{name}=null"):
        Slurm(environment={name: "abc"})
    for given in ({"setup": [f"export A=1 {name}='abc'"]}, {"options": [f"--export=ALL,{name}=abc"]}):
        with pytest.raises(ConfigError, match=rf"sets {name}, .* set run\.submit\.environment\.{name}=null"):
            Slurm(**given)  # type: ignore[arg-type]
    assert Slurm(setup=[f'export {name}="$(cat file)"', f"{name}=$OTHER", f"unset {name}"], options=["--export=ALL"])


def test_what_only_sounds_like_a_secret_is_written() -> None:
    assert Slurm(environment={"TOKENIZERS_PARALLELISM": "false"})
