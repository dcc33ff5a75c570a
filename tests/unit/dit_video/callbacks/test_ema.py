from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dit_video.callbacks.ema import Ema
from dit_video.errors import ConfigError

TRAINER: Any = SimpleNamespace(callbacks=[])


class Task(nn.Module):
    """A trained layer whose weight has two names, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2)
        self.tied = self.net

    def trained(self) -> dict[str, nn.Parameter]:
        return dict(self.net.named_parameters())


def batch(micro: int, samples_seen: int) -> Any:
    return SimpleNamespace(place=SimpleNamespace(step=0, micro=micro, micros=2, samples_seen=samples_seen))


def test_averages_move_at_the_end_of_a_step_and_bear_the_tasks_names() -> None:
    task: Any = Task()
    ema = Ema(half_life=8, ramp=1.0)
    ema.on_fit_start(Any, task)
    with torch.no_grad():
        task.net.weight.zero_()
    start = ema.tensors(task)["net.weight"].clone()
    ema.on_train_batch_end(TRAINER, task, None, batch(0, 8), 0)
    assert torch.equal(ema.tensors(task)["net.weight"], start)
    ema.on_train_batch_end(TRAINER, task, None, batch(1, 8), 1)
    torch.testing.assert_close(ema.tensors(task)["net.weight"], start / 2)
    assert set(ema.tensors(task)) == {"net.weight", "net.bias", "tied.weight", "tied.bias"}
    with ema.swapped():
        torch.testing.assert_close(task.net.weight.detach(), start / 2)
    assert not task.net.weight.any()


def test_a_half_life_of_nothing_is_refused() -> None:
    for settings in ({"half_life": 0}, {"half_life": -3}, {"half_life": 8, "ramp": -0.1}):
        with pytest.raises(ConfigError, match=r"callbacks\.ema"):
            Ema(**settings)  # type: ignore[arg-type]
