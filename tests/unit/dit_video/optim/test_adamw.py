from __future__ import annotations

import torch
from torch import nn

from dit_video.optim.adamw import AdamW


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 6))


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int = 4) -> None:
    pixels = torch.linspace(-1, 1, 24).reshape(4, 6)
    for _ in range(count):
        optimizer.zero_grad()
        (model(pixels) - pixels).square().sum().backward()
        optimizer.step()


def test_equals_torch_with_the_same_groups() -> None:
    ours, theirs = net(), net()
    steps(ours, AdamW(ours.named_parameters(), lr=1e-2, weight_decay=0.1, clip=None))
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    steps(theirs, torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.99)))
    torch.testing.assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()))


def test_a_tagged_matrix_does_not_decay() -> None:
    model = net()
    model[0].weight.no_decay = True
    before = model[0].weight.detach().clone()
    optimizer = AdamW(model.named_parameters(), lr=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[2].weight, net()[2].weight)


def test_state_is_there_before_the_first_step() -> None:
    model = net()
    optimizer = AdamW(model.named_parameters(), lr=1e-2)
    assert {"step", "exp_avg", "exp_avg_sq"} == set(optimizer.state[model[0].weight])


def test_frozen_parameters_are_left_out() -> None:
    model = net()
    model[0].requires_grad_(False)
    names = [name for group in AdamW(model.named_parameters(), lr=1e-2).param_groups for name in group["param_names"]]
    assert sorted(names) == ["1.bias", "1.weight", "2.bias", "2.weight"]
