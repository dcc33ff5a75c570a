"""Two optimizers in one: each steps, clips and keeps its own, and everyone sees one."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from dit_video import checkpoint
from dit_video.errors import ConfigError
from dit_video.optim.adamw import AdamW
from dit_video.optim.both import Both
from dit_video.optim.muon import Muon
from dit_video.optim.schedule import Constant


def pair() -> tuple[nn.Parameter, nn.Parameter]:
    torch.manual_seed(0)
    return nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))


def test_a_step_is_a_step_of_each() -> None:
    made = []
    for together in (True, False):
        one, two = pair()
        parts = Muon([("one", one)], lr=0.1), AdamW([("two", two)], lr=0.2)
        for _ in range(3):
            one.grad, two.grad = torch.ones_like(one), torch.full_like(two, 1e6)  # clipped apart, or one would be 0
            for optimizer in [Both(*parts)] if together else parts:
                optimizer.step()
        made.append((one, two))
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other)


def test_rates_groups_and_state_are_seen_and_live() -> None:
    one, two = pair()
    first = AdamW([("one", one)], lr=0.1, schedule=Constant(warmup=10))
    both = Both(first, AdamW([("two", two)], lr=0.2))
    assert both.schedule is first.schedule
    assert [group["base_lr"] for group in both.param_groups] == [0.1, 0.2]
    before = two.detach().clone()
    for group in both.param_groups:
        group["lr"] = 0.0
    one.grad, two.grad = torch.ones_like(one), torch.ones_like(two)
    both.step()
    assert torch.equal(two, before)
    stored = checkpoint.optimizer_state([both])
    assert {name.partition(".")[0] for name in stored} == {"one", "two"}
    stored["two.exp_avg"].fill_(7.0)
    assert (both.parts[1].state[two]["exp_avg"] == 7).all()
    both.zero_grad()
    assert two.grad is None


def test_a_closure_runs_once_and_what_has_no_gradient_stays() -> None:
    one, two = pair()
    both = Both(AdamW([("one", one)], lr=0.1), AdamW([("two", two)], lr=0.1))
    before, calls = two.detach().clone(), []

    def closure() -> float:
        calls.append(1)
        one.square().sum().backward()
        return 3.0

    assert both.step(closure) == 3.0
    assert len(calls) == 1
    assert torch.equal(two, before)


def test_an_optimizer_of_torch_shows_its_state_when_it_has_one() -> None:
    one, two = pair()
    both = Both(torch.optim.SGD([("one", one)], lr=0.1), torch.optim.Adam([("two", two)], lr=0.1))
    assert not both.state
    two.grad = torch.ones_like(two)
    both.step()
    assert both.state[two]


def test_the_second_has_no_schedule_of_its_own() -> None:
    one, two = pair()
    make = partial(AdamW, lr=0.1, schedule=Constant())
    with pytest.raises(ConfigError, match="leave its own schedule out"):
        Both(make([("one", one)]), make([("two", two)]))
