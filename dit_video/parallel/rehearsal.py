"""A training step without numbers: what it computes and the memory it takes, found by running the models' own code.

- FLOPs are counted by torch on meta tensors: products of matrices and convolutions, a multiplication with its addition
  as two. A training step is three forwards: one more for each of the two gradients of a product.
- Memory of a rank = weights + gradients + optimizer + averages + activations. The first four are sums over tensors;
  activations are the most that lives beside them at any time of a forward, a backward and an update, storage by
  storage, on fake tensors of a CPU. Not in it: what kernels take inside, fragments, and the device's own context.
- Gradients count as there all the time, as they are between micro-batches.
- Of several ranks, each has its rows of all of these (the first rank the most), the whole layers that it computes with
  just now, and its tokens' part of the activations. Texts and frames are taken for tokens in that.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dit_video.errors import ConfigError
from dit_video.optim.both import Both
from dit_video.optim.exchange import Matrix, most_at_once
from dit_video.optim.muon import Muon
from dit_video.parallel.plan import Plan
from dit_video.parallel.shard import save_memory
from dit_video.parallel.volume import gathered, padded, parted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

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

    def averaged(self) -> dict[str, nn.Parameter]:
        """What the averages are of."""
        ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Weights and buffers."""
        ...

    def children(self) -> Iterator[nn.Module]:
        """The models."""
        ...


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a rank that trains; `parameters` counts numbers, and `checkpoint` is what all ranks write together.

    `gathered` are whole layers, and their gradients, that a rank has at a time where parameters are sharded.
    """

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    averages: int
    activations: int
    gathered: int = 0
    checkpoint: int

    @property
    def total(self) -> int:
        """All that lives at the worst moment of a step."""
        held = self.weights + self.gradients + self.optimizer + self.averages
        return held + self.gathered + self.activations


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


def memory(
    task: Task,
    batch: Callable[[], Any],
    *,
    precision: str | int = "32-true",
    averages: bool = False,
    plan: Plan | None = None,
) -> Memory:
    """Memory of a rank in a step of a task over the micro-batch that `batch` makes.

    Args:
        task: whose models are made anew, without numbers.
        batch: makes the whole micro-batch, whichever part of it a rank has.
        precision: of the trainer.
        averages: whether an EMA is kept.
        plan: the parallel plan, filled; by default there is one rank.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    plan = plan or Plan(replicate=1)
    alone, ranks = plan.copies * plan.parameter_shards == 1, plan.parameter_shards
    with FakeTensorMode(allow_non_fake_inputs=True), Live() as live:
        task.build()
        models = list(task.children())
        for model in models:
            save_memory(model, replace(plan, compile=False))
        optimizer, trained = task.configure_optimizers(), list(task.trained().values())
        state = [value for values in optimizer.state.values() for value in values.values()]
        means = task.averaged().values() if averages else ()
        kept = [torch.empty_like(p, dtype=torch.promote_types(p.dtype, torch.float32)) for p in means]
        whole = size(task.state_dict().values())
        buffers = size(buffer for model in models for buffer in model.buffers())
        found = [unit for model in models for unit in parted(model)]
        half = precision in MIXED
        held = {
            "parameters": sum(parameter.numel() for parameter in trained),
            "weights": whole if alone else 4 * sum(unit.held(ranks) for unit in found) + buffers,
            "gradients": sharded(trained, ranks),
            "optimizer": sharded(state, ranks),
            "averages": sharded(kept, ranks),
            "gathered": 0 if alone else gathered(found, ranks=ranks, half=half),
            "checkpoint": whole + size(kept) + size(state),
        }
        del kept
        update = most(live, optimizer.step, trained)
        if half and not alone:
            trained = halved(models)
        with precise(precision):
            learn = most(live, lambda: task.rehearse(batch()).backward(), trained)
    matrices = matrices_of(optimizer)
    alone_at_once, at_once = (most_at_once(matrices, ranks=count) for count in (1, ranks))
    update = update * at_once // alone_at_once if matrices else update // ranks
    return Memory(**held, activations=max(learn // plan.sequence, update - held["gathered"]))


def halved(models: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Put parameters of half precision into models, as FSDP2 gathers them; returns those that are trained."""
    made: dict[int, nn.Parameter] = {}
    for module in (module for model in models for module in model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if id(parameter) not in made:
                values = parameter.detach().to(torch.bfloat16)
                made[id(parameter)] = nn.Parameter(values, requires_grad=parameter.requires_grad)
            setattr(module, name, made[id(parameter)])
    return [parameter for parameter in made.values() if parameter.requires_grad]


def matrices_of(optimizer: torch.optim.Optimizer) -> list[Matrix]:
    """What Muon works on; nothing for another optimizer."""
    parts = optimizer.parts if isinstance(optimizer, Both) else (optimizer,)
    return [one for part in parts if isinstance(part, Muon) for one in part.all_matrices()]


def most(live: Live, run: Callable[[], object], trained: Sequence[nn.Parameter]) -> int:
    """The most bytes that live beside what was there, and a gradient of each parameter, while `run` runs."""
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    before = live.most = live.now
    run()
    return live.most - before


def sharded(tensors: Iterable[Tensor], ranks: int) -> int:
    """Bytes of the first rank's rows of tensors; each has those without rows."""
    return sum(
        padded([(x.shape[0], x.shape[1:].numel())], ranks) * x.element_size() if x.ndim else x.element_size()
        for x in tensors
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
