"""Whatever happens while the model is looked at, training goes on with its own bits."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video.callbacks.ema import Ema
from dit_video.callbacks.look import kinds, looking


class Task(nn.Module):
    """Two layers and a buffer that a forward moves."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(()))

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self.named_parameters())


@pytest.fixture
def run() -> tuple[Any, Any, Ema]:
    """Trainer, task and averages that differ from the weights."""
    task, ema = Task(), Ema(half_life=8)
    ema.on_fit_start(Any, task)  # type: ignore[arg-type]
    assert ema.ema is not None
    for value in ema.ema.averages.values():
        value.add_(1.0)
    plugin = SimpleNamespace(forward_context=nullcontext)
    return SimpleNamespace(callbacks=[ema], precision_plugin=plugin), task, ema


@pytest.mark.parametrize("kind", ["raw", "ema"])
@pytest.mark.parametrize("fails", [False, True])
def test_weights_buffers_and_mode_come_back(run: tuple[Any, Any, Ema], kind: str, fails: bool) -> None:
    trainer, task, _ = run
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with pytest.raises(KeyError) if fails else nullcontext(), looking(trainer, task, kind=kind):
        assert not task.training
        assert not torch.is_grad_enabled()
        moved = task.one.weight - before["one.weight"]
        assert torch.allclose(moved, torch.full_like(moved, float(kind == "ema")))
        task.mean.add_(3.0)
        if fails:
            raise KeyError
    assert task.training
    assert torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_a_swap_that_fails_halfway_leaves_no_average_behind(run: tuple[Any, Any, Ema]) -> None:
    trainer, task, ema = run
    before = {name: value.clone() for name, value in task.state_dict().items()}
    assert ema.ema is not None
    ema.ema.averages["two.weight"] = torch.zeros(7, 7)
    with pytest.raises(RuntimeError), looking(trainer, task, kind="ema"):
        raise AssertionError("not reached")
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert task.training


def test_there_is_an_average_to_look_at_where_the_run_keeps_one(run: tuple[Any, Any, Ema]) -> None:
    assert kinds(run[0]) == ("raw", "ema")
    assert kinds(SimpleNamespace(callbacks=[])) == ("raw",)  # type: ignore[arg-type]
