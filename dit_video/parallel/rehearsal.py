"""A training step without numbers: what it computes and the memory it takes, found by running the models' own code.

- FLOPs are counted by torch on meta tensors: products of matrices and convolutions, a multiplication with its addition
  as two. A training step is three forwards: one more for each of the two gradients of a product.
- Memory of a rank = weights + gradients + optimizer + averages + activations. The first four are sums over tensors;
  activations are the most that lives beside them at any time of a forward, a backward and an update, storage by
  storage, on fake tensors of a CPU. Not in it: what kernels take inside, fragments, and the device's own context.
- Gradients count as there all the time, as they are between micro-batches.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dit_video.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

TRAINING = 3
"""Forwards that a training step costs."""
WHOLE, MIXED = ("32-true", "32", 32), ("bf16-mixed", "16-mixed")


@runtime_checkable
class Task(Protocol):
    """What a training task offers to be rehearsed; `rehearse` is the loss of a batch of sizes without numbers."""

    def build(self) -> None:
        """Make the models."""
        ...

    def rehearse(self, batch: Any) -> Tensor:
        """The loss."""
        ...

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer holds."""
        ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Weights and buffers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a rank that trains; `parameters` counts numbers."""

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int

    @property
    def total(self) -> int:
        """All that lives at the worst moment of a step."""
        return self.weights + self.gradients + self.optimizer + self.averages + self.activations

    @property
    def checkpoint(self) -> int:
        """What a checkpoint holds."""
        return self.weights + self.averages + self.optimizer


class Live(TorchDispatchMode):
    """Counts the bytes of the storages that live, from those made under it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self.count(leaf.untyped_storage())
        return made

    def count(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until it is gone."""
        name = storage._cdata
        if name not in self.sizes:
            self.sizes[name] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.forget, name)

    def forget(self, name: int) -> None:
        """A storage is gone."""
        self.now -= self.sizes.pop(name)


def forward_flops(task: Task, batch: Callable[[], Any]) -> int:
    """FLOPs of one forward of a task, built on meta tensors, over a batch that `batch` makes there."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        hollow = batch()
        with FlopCounterMode(display=False) as counter:
            task.rehearse(hollow)
    return int(counter.get_total_flops())


def memory(task: Task, batch: Callable[[], Any], *, precision: str | int = "32-true", averages: bool = False) -> Memory:
    """Memory of one step of a task over the micro-batch that `batch` makes; `averages` says whether an EMA is kept."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True), Live() as live, precise(precision):
        task.build()
        optimizer, trained = task.configure_optimizers(), list(task.trained().values())
        kept = [p.detach().to(torch.promote_types(p.dtype, torch.float32), copy=True) for p in trained if averages]
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        before = live.now
        task.rehearse(batch()).backward()
        optimizer.step()
        return Memory(
            parameters=sum(parameter.numel() for parameter in trained),
            weights=size(task.state_dict().values()),
            gradients=size(trained),
            optimizer=size(value for state in optimizer.state.values() for value in state.values()),
            averages=size(kept),
            activations=live.most - before,
        )


@contextmanager
def precise(precision: str | int) -> Iterator[None]:
    """Lightning's `trainer.precision`, as far as it decides the bytes of a tensor; ConfigError for others."""
    if precision not in MIXED and precision not in WHOLE:
        known = ", ".join(map(str, (*WHOLE, *MIXED)))
        raise ConfigError(f"the memory of trainer.precision={precision} is not known to run.plan; set one of {known}")
    with torch.autocast("cpu", torch.bfloat16, enabled=precision in MIXED):
        yield


def size(values: Iterable[Any]) -> int:
    """Bytes of the tensors among `values`, a shared one once."""
    tensors = {value.untyped_storage()._cdata: value for value in values if isinstance(value, torch.Tensor)}
    return sum(value.untyped_storage().nbytes() for value in tensors.values())
