"""AdamW (Loshchilov and Hutter 2019) whose groups follow the parameters' own tags.

- Built from named parameters: `AdamW(task.trained().items(), lr=1e-3)`; the names go into the checkpoint.
- State is made at once, not at the first step: a checkpoint is read into it in place, strictly.
- The optimizer carries its schedule, a factor by samples seen; `callbacks.schedule` applies it.
- `clip` bounds the total norm of the gradients of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dit_video.optim.clip import clip as clip_
from dit_video.optim.groups import Named, check, groups
from dit_video.optim.schedule import Schedule


def start_state(parameter: nn.Parameter) -> dict[str, Any]:
    """Adam's state of one parameter before the first step."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }


class AdamW(torch.optim.AdamW):
    """AdamW in groups: with weight decay and, for vectors and parameters tagged `no_decay`, without; and by `rate`."""

    def __init__(
        self,
        named: Named,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clip: float | None = 1.0,
        schedule: Schedule | None = None,
    ) -> None:
        check(lr=lr, weight_decay=weight_decay, clip=clip, eps=eps, shares=betas)
        found = groups(named, lr=lr, weight_decay=weight_decay)
        super().__init__(found, lr=lr, betas=(betas[0], betas[1]), eps=eps, fused=True)
        self.clip, self.schedule = clip, schedule
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = start_state(parameter)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update; `closure`, if given, computes the gradients."""
        loss = evaluate(closure)
        if self.clip is not None:
            clip_((p for group in self.param_groups for p in group["params"]), limit=self.clip)
        super().step()
        return loss


def evaluate(closure: Callable[[], Any] | None) -> Any:
    """What the closure of a step returns, computed with gradients; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
