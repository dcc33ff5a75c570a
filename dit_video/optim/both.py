"""Two optimizers that step as one, over the gradients of one backward: of a model, and of what judges it.

Everything that surrounds a step sees one optimizer: the guard leaves out both or none, both are saved under their
parameters' names, and accumulation is the trainer's own. Each clips its own gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dit_video.errors import ConfigError
from dit_video.optim.adamw import evaluate


class Both(torch.optim.Optimizer):
    """`first` and `second` over parameters of their own; the rates of both follow the schedule of `first`."""

    def __init__(self, first: torch.optim.Optimizer, second: torch.optim.Optimizer) -> None:
        if getattr(second, "schedule", None) is not None:
            raise ConfigError("the second optimizer follows the schedule of optim; leave its own schedule out")
        groups = [*first.param_groups, *second.param_groups]
        super().__init__([parameter for group in groups for parameter in group["params"]], {})
        self.parts, self.schedule = (first, second), getattr(first, "schedule", None)
        self.param_groups = groups
        for group in second.param_groups:
            group.setdefault("base_lr", group["lr"])
        self.join()

    def join(self) -> None:
        """Know the state of each parameter, which is that of its optimizer."""
        for part in self.parts:
            self.state.update(part.state)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update of each; `closure`, if given, computes the gradients."""
        loss = evaluate(closure)
        for part in self.parts:
            part.step()
        if len(self.state) < sum(len(part.state) for part in self.parts):
            self.join()  # an optimizer of torch.optim makes its state at its first step
        return loss
