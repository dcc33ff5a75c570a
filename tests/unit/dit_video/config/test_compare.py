from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from dit_video import config

ALLOWED = config.Allowed(keys=("run.samples", "trainer.*", "callbacks.*"), kept=("callbacks.ema",))
SETTINGS: dict[str, Any] = {
    "tasks": {"optim": "${optim}"},
    "optim": {"lr": 1, "total": "${run.samples}"},
    "datamodules": {"seed": "${run.seed}", "sizes": [1, 2]},
    "trainer": {"devices": 1},
    "callbacks": {"ema": {"half_life": 8}, "finite": {}},
    "run": {"samples": 40, "seed": 0},
}


def settings(*overrides: str) -> Any:
    """The settings with overrides, unresolved."""
    return OmegaConf.to_container(OmegaConf.merge(SETTINGS, OmegaConf.from_dotlist(list(overrides))))


def difference(first: list[str], later: list[str]) -> config.Change | None:
    """What a run begun with `first` says to being resumed with `later`."""
    saved = OmegaConf.to_container(OmegaConf.create(settings(*first)), resolve=True)
    raw = settings(*later)
    before = OmegaConf.create(config.as_before(raw, saved, allowed=ALLOWED))
    return config.changed(saved, OmegaConf.to_container(before, resolve=True), raw, allowed=ALLOWED)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ([], []),
        ([], ["run.samples=60"]),
        (["run.samples=60"], []),
        ([], ["trainer.devices=2", "callbacks.finite.limit=3"]),
        (["callbacks.more.a=1"], []),
        (["run.seed=0"], ["datamodules.seed=0"]),
        (["datamodules.seed=0", "optim.total=40"], []),
        (["run.seed=5"], ["run.seed=5", "datamodules.seed=5"]),
        (["optim.total=40"], ["run.samples=60"]),
    ],
)
def test_the_same_settings_by_any_way_may_go_on(first: list[str], later: list[str]) -> None:
    assert difference(first, later) is None


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        (["datamodules.seed=5"], [], ("datamodules.seed", 5, 0)),
        ([], ["datamodules.seed=5"], ("datamodules.seed", 0, 5)),
        (["run.seed=5"], ["datamodules.seed=5"], ("run.seed", 5, 0)),
        (["optim.total=50"], [], ("optim.total", 50, 40)),
        (["optim.total=50"], ["run.samples=50"], ("optim.total", 50, 40)),
        ([], ["optim.lr=2"], ("optim.lr", 1, 2)),
        ([], ["datamodules.sizes=[1]"], ("datamodules.sizes", [1, 2], [1])),
        (["optim.more=1"], [], ("optim.more", 1, None)),
        ([], ["callbacks.ema.half_life=9"], ("callbacks.ema.half_life", 8, 9)),
        ([], ["callbacks.ema=null"], ("callbacks.ema", {"half_life": 8}, None)),
        (["callbacks.ema=null"], [], ("callbacks.ema", None, {"half_life": 8})),
    ],
)
def test_another_value_is_named_by_the_key_that_sets_it(first: list[str], later: list[str], expected: object) -> None:
    assert difference(first, later) == expected


def test_a_star_is_all_below_but_what_is_kept() -> None:
    for key in ("trainer", "trainer.devices", "callbacks.finite.a", "run.samples"):
        assert key in ALLOWED
    for key in (
        "",
        "run",
        "run.sample",
        "run.samples_seen",
        "callbacks",
        "callbacks.ema",
        "callbacks.ema.ramp",
        "train",
    ):
        assert key not in ALLOWED
    assert "callbacks.emma" in ALLOWED
