"""Parameter groups by the tags that parameters carry (see the package): one rule for every optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from torch import nn

from dit_video.errors import ConfigError

Named = Iterable[tuple[str, nn.Parameter]]
TAGS = ("no_decay", "matrix", "parts", "rate")
"""Attributes by which a parameter says what it is."""


def decays(parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: matrices and kernels, unless tagged `no_decay`."""
    return parameter.ndim > 1 and not getattr(parameter, "no_decay", False)


def rate(parameter: nn.Parameter) -> float:
    """The parameter's learning rate over the run's: 1, unless tagged `rate`."""
    return float(getattr(parameter, "rate", 1.0))


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether the parameter is a linear map between hidden states: two axes or more, unless tagged `matrix = False`."""
    return parameter.ndim > 1 and getattr(parameter, "matrix", True)


def check(*, lr: float, weight_decay: float, clip: float | None, eps: float, shares: Iterable[float]) -> None:
    """ConfigError for settings of no meaning; `shares` are the weights of running averages (betas, momentum)."""
    bounds = {
        "lr must be above 0": lr > 0,
        "weight_decay must be at least 0": weight_decay >= 0,
        "clip must be above 0, or null for none": clip is None or clip > 0,
        "eps must be above 0": eps > 0,
        "betas and momentum must be from 0 to below 1": all(0 <= share < 1 for share in shares),
    }
    for text, kept in bounds.items():
        if not kept:
            raise ConfigError(f"optim.{text}")


def groups(named: Named, *, lr: float, weight_decay: float, matrices: bool = False) -> list[dict[str, Any]]:
    """Groups of equal weight decay and rate, frozen parameters left out; `base_lr` is what a schedule multiplies.

    With `matrices`, hidden matrices are apart from the rest, and a group's `matrix` says which it is.
    """
    kinds: dict[tuple[bool, bool, float], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, parameter in named:
        if parameter.requires_grad:
            kinds[matrices and is_matrix(parameter), decays(parameter), rate(parameter)].append((name, parameter))
    return [
        {
            "params": members,
            "matrix": matrix,
            "weight_decay": weight_decay if decay else 0.0,
            "lr": lr * share,
            "base_lr": lr * share,
        }
        for (matrix, decay, share), members in sorted(kinds.items(), key=lambda item: item[0], reverse=True)
    ]
