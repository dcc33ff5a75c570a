from __future__ import annotations

import pytest
import torch
from torch import nn

from dit_video import checkpoint
from dit_video.checkpoint.state import flat
from dit_video.errors import CheckpointError


def test_only_tensors_are_state() -> None:
    assert list(flat({"model": {"a.b": torch.ones(1)}})) == ["model.a.b"]
    with pytest.raises(CheckpointError, match="tensors only"):
        flat({"model": {"a": 3}})  # type: ignore[dict-item]


def test_state_of_a_torch_optimizer_is_made_without_a_change() -> None:
    layer = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    optimizer = torch.optim.AdamW(layer.named_parameters(), lr=0.1)
    state = checkpoint.optimizer_state([optimizer])
    assert "weight.exp_avg_sq" in state
    assert all(not value.any() for value in state.values())
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert layer.weight.grad is None


def test_an_optimizer_without_names_is_refused() -> None:
    with pytest.raises(CheckpointError, match="named"):
        checkpoint.optimizer_state([torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)])
