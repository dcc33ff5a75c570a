from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video.callbacks.finite import Finite
from dit_video.callbacks.spike import Spike
from dit_video.errors import ConfigError, UserError


class Run:
    """Steps of given losses before the two callbacks; the gradient is 1."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.finite, self.spike = Finite(dir=str(folder)), Spike(**settings)
        self.trainer: Any = SimpleNamespace(callbacks=[self.finite, self.spike], world_size=1, global_rank=0)
        self.weight = nn.Parameter(torch.zeros(1))
        self.optimizer = torch.optim.SGD([self.weight], lr=1.0)
        self.steps = 0

    def step(self, loss: float) -> bool:
        """Whether the step is learnt from."""
        place = SimpleNamespace(step=self.steps, micro=0, micros=1)
        self.steps += 1
        self.finite.replay.note = lambda batch: None  # type: ignore[method-assign]
        self.finite.on_train_batch_start(self.trainer, nn.Module(), SimpleNamespace(place=place), 0)  # type: ignore[arg-type]
        self.finite.on_before_backward(self.trainer, Any, torch.tensor(loss))  # type: ignore[arg-type]
        self.finite.replay.micros = [{"keys": ["key"]}]
        self.weight.grad = torch.ones(1)
        for item in (self.finite, self.spike):
            item.on_before_optimizer_step(self.trainer, Any, self.optimizer)  # type: ignore[arg-type]
        return self.weight.grad is not None


def losses(count: int, seed: int = 0) -> list[float]:
    draw = torch.Generator().manual_seed(seed)
    return (1 + 0.2 * torch.randn(count, generator=draw)).tolist()


def test_spikes_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    run = Run(tmp_path, warm_up=20, window=40)
    assert all(run.step(loss) for loss in losses(100))
    assert not run.step(10.0)
    assert not run.step(1e6)
    assert all(run.step(loss) for loss in losses(50, seed=1))
    assert run.spike.measures() == {"spikes": 2}
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == ["000101-0.json", "000102-0.json"]


def test_nothing_is_judged_before_the_warm_up(tmp_path: Path) -> None:
    run = Run(tmp_path, warm_up=20, window=40)
    assert all(run.step(loss) for loss in [1.0] * 19 + [1e6])


def test_a_loss_that_repeats_exactly_may_still_move(tmp_path: Path) -> None:
    run = Run(tmp_path, warm_up=20, window=40)
    assert all(run.step(loss) for loss in [1.0] * 30 + [1.5])
    assert not run.step(10.0)


def test_what_is_not_finite_is_no_business_of_it(tmp_path: Path) -> None:
    run = Run(tmp_path, warm_up=2, window=4)
    assert [run.step(loss) for loss in (1.0, 1.0, 1.0, math.nan, 1.0)] == [True, True, True, False, True]
    assert run.spike.skips.total == 0
    assert not torch.isnan(run.spike.past).any()


def test_too_many_in_a_row_stop(tmp_path: Path) -> None:
    run = Run(tmp_path, warm_up=20, window=40, in_a_row=2)
    for loss in [*losses(40), 50.0, 50.0]:
        run.step(loss)
    with pytest.raises(UserError, match=r"step 43: the loss is 50, .*in 3 steps in a row .*callbacks\.spike=null"):
        run.step(50.0)


def test_a_run_that_goes_on_decides_alike(tmp_path: Path) -> None:
    whole, resumed = Run(tmp_path, warm_up=20, window=40), Run(tmp_path, warm_up=20, window=40)
    for loss in losses(70):
        whole.step(loss)
    for name, tensor in resumed.spike.kept().items():
        tensor.copy_(whole.spike.kept()[name])
    assert resumed.spike.limit() == whole.spike.limit()
    after = [*losses(5, seed=1), 30.0, *losses(5, seed=2)]
    assert [resumed.step(loss) for loss in after] == [whole.step(loss) for loss in after]


def test_it_needs_the_losses() -> None:
    spike, trainer = Spike(), SimpleNamespace(callbacks=[])
    trainer.callbacks = [spike, Finite(dir="")]
    with pytest.raises(ConfigError, match=r"needs callbacks\.finite before it"):
        spike.on_fit_start(trainer, Any)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"callbacks\.spike needs"):
        Spike(warm_up=300)
