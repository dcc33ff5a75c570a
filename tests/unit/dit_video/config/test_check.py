from __future__ import annotations

from pathlib import Path

import pytest

from dit_video import config
from dit_video.errors import ConfigError

OPTIM = {"_target_": "dit_video.optim.adamw.AdamW", "_partial_": True, "lr": 0.1}


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


def test_settings_of_an_object_need_a_target_that_makes_it() -> None:
    node = {"_target_": "dit_video.callbacks.samples.Samples", "dir": "a", "every_samples": 3}
    target = "dit_video.pipeline.denoise.Sampling"
    config.check({"samples": node | {"sampling": {"_target_": target, "steps": 2}}})
    config.check({"samples": node | {"sampling": None}})
    with pytest.raises(ConfigError, match=rf"add samples\.sampling\._target_={target}"):
        config.check({"samples": node | {"sampling": {"steps": 2}}})


def test_missing_values_are_named() -> None:
    assert list(config.missing({"run": {"name": "???", "dir": "a"}, "samples": "???"})) == ["run.name", "samples"]
