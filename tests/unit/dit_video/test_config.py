from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dit_video import config
from dit_video.errors import ConfigError

OPTIM = {"_target_": "dit_video.optim.adamw.AdamW", "_partial_": True, "lr": 0.1}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for name in ("models/dit/tiny", "models/dit/base", "trainer/cpu", "experiment/small"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    text = "defaults:\n  - _self_\n  - models/dit: null\n  - trainer: cpu\n  - experiment: null\nprompt: ''\n"
    (tmp_path / "train.yaml").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("models.dit.width=64", "++models.dit.width=64"),
        ("++models.dit.width=64", "++models.dit.width=64"),
        ("+models.dit.width=64", "++models.dit.width=64"),
        ("models/dit=tiny", "models/dit=tiny"),
        ("models/dit=tiny,base", "models/dit=tiny,base"),
        ("trainer=cpu", "trainer=cpu"),
        ("trainer=null", "trainer=null"),
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


def test_settings_of_a_group_that_is_not_chosen(conf: Path) -> None:
    with pytest.raises(ConfigError, match="add models/dit=NAME, one of base, tiny"):
        config.check_groups({"models": {"dit": {"width": 3}}}, conf=conf)
    config.check_groups({"models": {"dit": {"_target_": "x", "width": 3}}, "trainer": None}, conf=conf)
    with pytest.raises(ConfigError, match="did you mean ema"):
        config.check_groups({"trainer": {"ema": {"_target_": "x"}, "emma": {"a": 1}}}, conf=conf)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lrr": 1}, r"there is no optim\.lrr .*did you mean lr\?"),
        ({"lr": "fast"}, r"optim\.lr must be float, got 'fast'"),
        ({"clip": "no"}, r"optim\.clip must be float or null"),
        ({"_args_": [1]}, "_args_"),
        ({"_target_": "dit_video.optim.adamw.AdamV"}, "did you mean AdamW"),
        ({"_target_": "dit_video.optim.adamv.AdamW"}, "there is no"),
        ({"_target_": "builtins.eval"}, "only names under"),
        ({"_target_": 3}, "only names under"),
        ({"_target_": "dit_video.seeds.hashlib.blake2b"}, "there is no"),
        ({"_target_": "torch.optim.adamw.torch.load"}, "there is no"),
        ({"_partial_": False}, r"optim\.named is not set"),
    ],
)
def test_a_node_is_held_against_its_signature(change: dict[str, object], message: str) -> None:
    config.check({"optim": OPTIM})
    with pytest.raises(ConfigError, match=message):
        config.check({"optim": OPTIM | change})
    with pytest.raises(ConfigError, match=r"tasks\.list\.0"):
        config.check({"tasks": {"list": [OPTIM | {"nothing": 1}]}})


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [1, -1, "${a}", "???"], [1.0, "1", True, None, [1]]),
        ("float", [1, 1.5], ["1", False, None]),
        ("str", ["a"], [1, None]),
        ("bool", [True], [1, "true"]),
        ("int | None", [1, None], [1.5]),
        ("'str'", ["a"], [2]),
        ("Literal['a', 'b']", ["a"], ["c"]),
        ("Sequence[int]", [1, "a", None], []),
    ],
)
def test_simple_types_are_checked(annotation: str, good: list[object], bad: list[object]) -> None:
    node = ast.parse(annotation, mode="eval").body
    assert [config.mismatch(value, node) for value in good] == [None] * len(good)
    assert all(config.mismatch(value, node) for value in bad)


def test_missing_values_are_named() -> None:
    assert list(config.missing({"run": {"name": "???", "dir": "a"}, "samples": "???"})) == ["run.name", "samples"]


def test_changed_names_the_first_difference_that_matters() -> None:
    saved = {"optim": {"lr": 1}, "tasks": {"optim": {"lr": 1}}, "trainer": {"devices": 1}, "run": {"samples": 5}}
    raw = {"optim": {"lr": 2}, "tasks": {"optim": "${optim}"}, "trainer": {"devices": 2}, "run": {"samples": 6}}
    now = raw | {"tasks": {"optim": {"lr": 2}}}
    allowed = ("trainer.*", "run.samples")
    assert config.changed(saved, now, raw, allowed=allowed) == "optim.lr"
    assert config.changed(saved, now | {"optim": {"lr": 1}}, raw, allowed=allowed) is None
    assert config.changed(saved, now | {"optim": {"lr": 1}}, raw, allowed=("run.samples",)) == "trainer.devices"
    assert config.changed(saved | {"more": 1}, now | {"optim": {"lr": 1}}, raw, allowed=allowed) == "more"
    assert config.changed(saved | {"trainer": None}, now | {"optim": {"lr": 1}}, raw, allowed=allowed) is None


def test_one_line_shows_mistakes_and_raises_bugs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, config.one_line():
        raise RuntimeError("wrapped") from ConfigError("two\nlines")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: two lines\n"
    with pytest.raises(RuntimeError, match="bug"), config.one_line():
        raise RuntimeError("bug")
    with pytest.raises(ConfigError), config.one_line(debug=True):
        raise ConfigError("shown whole")


def test_a_run_needs_samples() -> None:
    with pytest.raises(ConfigError, match=r"run\.samples"):
        config.Run(name="a", dir="b", seed=0, samples=0, every_samples=1)
