from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video.callbacks.finite import Finite, gradient_norm
from dit_video.errors import UserError

TRAINER: Any = SimpleNamespace(global_rank=0)


def batch(micro: int) -> Any:
    return SimpleNamespace(place=SimpleNamespace(step=6, micro=micro, micros=2), keys=(f"key{micro}", ""))


def optimizer(gradient: float) -> torch.optim.Optimizer:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, gradient)
    return torch.optim.SGD(parameters, lr=1.0)


def watched(*losses: float) -> Finite:
    finite = Finite()
    for micro, loss in enumerate(losses):
        finite.on_train_batch_start(TRAINER, Any, batch(micro), micro)
        finite.on_before_backward(TRAINER, Any, torch.tensor(loss))
    return finite


def test_a_finite_step_passes_and_is_measured() -> None:
    finite = watched(1.0, 2.0)
    finite.on_before_optimizer_step(TRAINER, Any, optimizer(2.0))
    assert finite.measures()["grad_norm"] == pytest.approx(12**0.5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["first loss", "last loss", "gradient"])
def test_anything_else_names_the_samples(bad: float, where: str) -> None:
    finite = watched(bad if where == "first loss" else 1.0, bad if where == "last loss" else 1.0)
    with pytest.raises(UserError, match=r"step 7: .* Samples: key0 key1\."):
        finite.on_before_optimizer_step(TRAINER, Any, optimizer(bad if where == "gradient" else 1.0))


def test_the_norm_is_over_all_parameters() -> None:
    assert gradient_norm(optimizer(3.0)).item() == pytest.approx(27**0.5)
