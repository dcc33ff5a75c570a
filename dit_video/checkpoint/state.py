"""A run's state as one flat dictionary of tensors, under names that do not depend on the order of anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dit_video.errors import CheckpointError

State = Mapping[str, Mapping[str, Tensor]]


def flat(state: State) -> dict[str, Tensor]:
    """`{"model": {"a.b": tensor}}` as `{"model.a.b": tensor}`."""
    tensors = {f"{part}.{name}": value for part, named in state.items() for name, value in named.items()}
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{name} is a {type(value).__name__}; a checkpoint holds tensors only")
    return tensors


def size_of(state: State) -> int:
    """Bytes of all its tensors, over all processes."""
    return sum(value.numel() * value.element_size() for value in flat(state).values())


def optimizer_state(optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every tensor an optimizer keeps, as PARAMETER.KEY; the optimizers must be built from named parameters.

    The tensors are the live ones: reading into them restores the optimizer. State that an optimizer of
    `torch.optim` makes at its first step is made here, by a step that changes nothing.
    """
    tensors: dict[str, Tensor] = {}
    for optimizer in optimizers:
        if not optimizer.state:
            _awaken(optimizer)
        for group in optimizer.param_groups:
            if "param_names" not in group:
                raise CheckpointError(f"{type(optimizer).__name__} must be built from named parameters: named.items()")
            for name, parameter in zip(group["param_names"], group["params"], strict=True):
                for key, value in optimizer.state[parameter].items():
                    if isinstance(value, Tensor):
                        tensors[f"{name}.{key}"] = value
    return tensors


def _awaken(optimizer: torch.optim.Optimizer) -> None:
    """Make the state of a fresh optimizer: one step with gradients and learning rate at zero."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
        for parameter in group["params"]:
            for value in optimizer.state[parameter].values():
                if isinstance(value, Tensor):
                    value.zero_()
