from __future__ import annotations

import torch
from torch import nn

from dit_video.optim.clip import clip


def test_the_norm_becomes_the_limit_and_the_direction_stays() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert clip(parameters, limit=1.0).item() == 5.0
    torch.testing.assert_close(parameters[0].grad, torch.tensor([0.6, 0.0]))
    torch.testing.assert_close(parameters[1].grad, torch.tensor([0.8]))
    assert clip(parameters, limit=2.0).item() < 1.001
    torch.testing.assert_close(parameters[1].grad, torch.tensor([0.8]))
