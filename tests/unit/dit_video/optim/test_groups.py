from __future__ import annotations

import pytest
import torch
from torch import nn

from dit_video.errors import ConfigError
from dit_video.optim.adamw import AdamW
from dit_video.optim.groups import groups
from dit_video.optim.muon import Muon
from dit_video.optim.schedule import Constant


def tagged() -> dict[str, nn.Parameter]:
    """One parameter of each kind."""
    named = {name: nn.Parameter(torch.ones(4, 4)) for name in ("plain", "kept", "embedding", "slow", "frozen")}
    named |= {"vector": nn.Parameter(torch.ones(4)), "slow_vector": nn.Parameter(torch.ones(4))}
    named["kept"].no_decay = True
    named["embedding"].matrix = False
    named["slow"].rate = named["slow_vector"].rate = 0.1
    named["frozen"].requires_grad_(False)
    return named


def by_name(*, matrices: bool) -> dict[str, tuple[bool, float, float]]:
    return {
        name: (group["matrix"], group["weight_decay"], group["base_lr"])
        for group in groups(tagged().items(), lr=2.0, weight_decay=0.5, matrices=matrices)
        for name, _ in group["params"]
    }


def test_tags_decide_decay_rate_and_kind() -> None:
    assert by_name(matrices=True) == {
        "plain": (True, 0.5, 2.0),
        "kept": (True, 0.0, 2.0),
        "embedding": (False, 0.5, 2.0),
        "slow": (True, 0.5, 0.2),
        "vector": (False, 0.0, 2.0),
        "slow_vector": (False, 0.0, 0.2),
    }
    assert {name: rest for name, (_, *rest) in by_name(matrices=False).items()} == {
        name: rest for name, (_, *rest) in by_name(matrices=True).items()
    }
    assert not any(matrix for matrix, *_ in by_name(matrices=False).values())


@pytest.mark.parametrize("kind", [AdamW, Muon])
@pytest.mark.parametrize("name", ["slow", "slow_vector"])
def test_a_tenth_of_the_rate_is_a_tenth_of_the_way(kind: type[AdamW] | type[Muon], name: str) -> None:
    named = {name: tagged()[name], "full": nn.Parameter(torch.ones_like(tagged()[name]))}
    optimizer = kind(named.items(), lr=0.01, weight_decay=0.0, clip=None, schedule=Constant())
    gradient = torch.linspace(-1, 2, named["full"].numel()).reshape(named["full"].shape)
    for parameter in named.values():
        parameter.grad = gradient.clone()
    optimizer.step()
    slow, full = (parameter.detach() - 1 for parameter in named.values())
    torch.testing.assert_close(10 * slow, full, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [AdamW, Muon])
@pytest.mark.parametrize(
    "settings", [{"lr": -1.0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"clip": 0.0}, {"eps": 0.0}, {"betas": (0.9, 1.0)}]
)
def test_settings_of_no_meaning_are_refused_by_name(kind: type[AdamW] | type[Muon], settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"optim\..*{next(iter(settings))}"):
        kind(tagged().items(), **{"lr": 0.1, **settings})  # type: ignore[arg-type]
