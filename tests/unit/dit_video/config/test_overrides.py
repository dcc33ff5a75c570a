from __future__ import annotations

from pathlib import Path

import pytest

from dit_video import config
from dit_video.errors import ConfigError


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("models.dit.width=64", "++models.dit.width=64"),
        ("++models.dit.width=64", "++models.dit.width=64"),
        ("+models.dit.width=64", "++models.dit.width=64"),
        ("models/dit=tiny", "models/dit=tiny"),
        ("models/dit=tiny,base", "models/dit=tiny,base"),
        ("models.dit=tiny", "models/dit=tiny"),
        ("trainer=cpu", "trainer=cpu"),
        ("trainer=null", "~trainer"),
        ("~trainer=cpu", "~trainer=cpu"),
        ("hydra.sweep.dir=a", "hydra.sweep.dir=a"),
        ("--cfg", "--cfg"),
        ("-m", "-m"),
        ("trainer.a=x=y", "++trainer.a=x=y"),
    ],
)
def test_values_are_set_and_groups_chosen(conf: Path, item: str, expected: str) -> None:
    assert config.rewrite([item], conf=conf, name="train") == [expected]
    assert config.rewrite([expected], conf=conf, name="train") == [expected]


def test_a_path_is_quoted_and_several_are_a_mapping(conf: Path) -> None:
    for given, expected in (("a=1, b", "'a=1, b'"), ("{/a: 1, b/c: 0.5}", "{/a: 1, b/c: 0.5}"), ("{", "'{'")):
        assert config.rewrite([f"prompt={given}"], conf=conf, name="train", paths=["prompt"]) == [
            f"++prompt={expected}"
        ]


def test_in_a_sweep_a_comma_parts_several_paths(conf: Path) -> None:
    for given, expected in (("prompt=a,b", "++prompt=a,b"), ("prompt=a=b", "++prompt='a=b'")):
        assert config.rewrite(["-m", given], conf=conf, name="train", paths=["prompt"]) == ["-m", expected]


def test_a_group_offers_no_files_of_a_group_below_it(conf: Path) -> None:
    (conf / "models/other.yaml").touch()
    assert config.options(conf, "models") == ["other"]
    assert config.options(conf, "models/dit") == ["base", "tiny"]


@pytest.mark.parametrize("flag", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"]])
def test_a_site_may_add_options_in_a_folder_of_its_own(conf: Path, tmp_path: Path, flag: list[str]) -> None:
    site = tmp_path / "site"
    (site / "trainer").mkdir(parents=True)
    (site / "trainer/ours.yaml").touch()
    arguments = [*(item.format(site) for item in flag), "trainer=ours"]
    assert config.rewrite(arguments, conf=conf, name="train") == arguments
    with pytest.raises(ConfigError, match="no option 'ours'"):
        config.rewrite(["trainer=ours"], conf=conf, name="train")


def test_flags_may_stand_anywhere(conf: Path) -> None:
    rewritten = config.rewrite(["trainer=cpu", "-m", "trainer.a=1,2", "--cfg", "job"], conf=conf, name="train")
    assert rewritten == ["-m", "--cfg", "job", "trainer=cpu", "++trainer.a=1,2"]


@pytest.mark.parametrize(
    ("item", "hint"),
    [
        ("models/dti=tiny", "did you mean models/dit"),
        ("models/dit=tinny", "did you mean tiny"),
        ("trianer.devices=1", "did you mean trainer"),
        ("wholly=1", "there is models, prompt, trainer"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest(conf: Path, item: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        config.rewrite([item], conf=conf, name="train")


@pytest.mark.parametrize(
    "text",
    ["a ball, red", "it's", "it\\'s\\", "${oops}", "a=b", "[1", "{", "x" * 1000, "ünï 中", "'", '"', "", "1e3", "null"],
)
def test_texts_reach_the_config_letter_by_letter(conf: Path, text: str) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(config_dir=str(conf), version_base="1.3"):
        cfg = compose("train", config.rewrite([f"prompt={text}"], conf=conf, name="train", texts={"prompt"}))
    assert OmegaConf.to_container(cfg, resolve=True)["prompt"] == text
