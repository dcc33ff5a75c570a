"""What a training needs is there before anything is imported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from dit_video import config
from dit_video.config.resolve import check_datasets
from dit_video.errors import ConfigError, DataError

CONF = Path(__file__).resolve().parents[4] / "conf"


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def test_all_is_resolved_where_nothing_is_missing(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").touch()
    resolved = config.resolve(composed("experiment=quickstart/dit", f"++datamodules.dataset={tmp_path}"), conf=CONF)
    assert resolved["run"]["dir"] == f"outputs/runs/{resolved['run']['name']}"
    assert "submit" not in resolved["run"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "tasks is not chosen; add experiment=NAME, one of footage/dit"),
        (["experiment=quickstart/dit"], r"datamodules\.dataset is not set; add datamodules\.dataset=VALUE"),
        (["experiment=quickstart/dit", "++datamodules.dataset=/no"], "/no is not a finished dataset"),
        (
            ["experiment=quickstart/dit", "++run.submit.time='9'"],
            r"run\.submit\.time is set but no run/submit is chosen",
        ),
    ],
)
def test_the_first_thing_that_is_missing_is_named(overrides: list[str], said: str) -> None:
    with pytest.raises((ConfigError, DataError), match=said):
        config.resolve(composed(*overrides), conf=CONF)


def test_of_several_datasets_each_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").touch()
    check_datasets({str(tmp_path): 1, "https://host/data": 0.5})
    check_datasets(None)
    with pytest.raises(DataError, match="step=curate source=DIR dataset=/no"):
        check_datasets([str(tmp_path), "/no"])
    with pytest.raises(DataError, match="several are quoted"):
        check_datasets("a:0.5")
