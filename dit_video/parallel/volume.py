"""What the ranks of a plan send one another in an optimizer step: formulas, and a count of the real thing.

n = shard x sequence ranks share a copy of the parameters, c = replicate is the number of copies, g = sequence shares
a pack. A unit is a block, or all of a model that is in no block; FSDP2 pads the rows of each of its parameters to n.

- Parameters: an all-gather of each unit in the forward and, but for what is in no block, another in the backward, of
  every micro-batch; in half precision where the trainer's is.
- Gradients: a reduce-scatter of each unit in the backward of every micro-batch; float32. Between copies an all-reduce
  of what a rank then holds, after the last micro-batch.
- Ulysses: q, k, v and the output of self-attention, q and the output of attention to text; forward, backward, and
  once more where activations are recomputed.
- Muon: whole matrices there and back (`dit_video.optim.exchange`). Clipping: one number. Averages: nothing.

Sent means what a rank must at least send: (n - 1) b of an all-gather where each gives b, the same of a reduce-scatter
where each receives b, 2 (n - 1) / n b of an all-reduce of b, and of an all-to-all what is for others. Beside that the
callbacks exchange some hundred bytes a step over a group of their own (`agree`), which are not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode

from dit_video.optim.exchange import Matrix, sent
from dit_video.parallel.shard import units

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dit_video.parallel.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes that a rank sends in a step, the busiest where they differ.

    `gathers` of parameters, `scatters` of gradients and `matrices` (Muon's, and the norm) go between the ranks of a
    copy, `copies` of gradients between copies, `trades` of tokens for heads between the ranks of a pack.
    """

    gathers: int = 0
    scatters: int = 0
    copies: int = 0
    trades: int = 0
    matrices: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Parameters that FSDP2 gathers as one, (rows, numbers of a row) each; `again` where the backward gathers too."""

    rows: tuple[tuple[int, int], ...]
    trained: tuple[tuple[int, int], ...]
    again: bool

    def held(self, ranks: int) -> int:
        """Numbers that a rank holds of it, with the padding."""
        return padded(self.rows, ranks)

    def learnt(self, ranks: int) -> int:
        """Gradients that a rank holds of it, with the padding."""
        return padded(self.trained, ranks)


def padded(rows: Iterable[tuple[int, int]], ranks: int) -> int:
    """Numbers that a rank holds of parameters of so many rows of so many numbers."""
    return sum(-(-count // ranks) * size for count, size in rows)


def parted(model: nn.Module) -> list[Unit]:
    """The units of a model."""
    blocks = [list(block.parameters()) for block in units(model)]
    within = {id(parameter) for block in blocks for parameter in block}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in within]
    return [unit(block, again=True) for block in blocks] + ([unit(rest, again=False)] if rest else [])


def unit(parameters: Sequence[nn.Parameter], *, again: bool) -> Unit:
    """A unit of parameters."""
    sizes = [(parameter.shape[0], parameter.shape[1:].numel()) for parameter in parameters]
    trained = [size for size, parameter in zip(sizes, parameters, strict=True) if parameter.requires_grad]
    return Unit(rows=tuple(sizes), trained=tuple(trained), again=again)


def gathered(found: Sequence[Unit], *, ranks: int, half: bool) -> int:
    """Bytes of whole parameters and gradients that a rank has at the worst moment, while a block computes.

    What is in no block stays whole for the step. Of the largest block there are its parameters, those of the next one
    twice (as they arrive, and as they are used), its gradients, and two float32 buffers of gradients on their way.
    """
    width = 2 if half else 4
    rest = ranks * sum(each.held(ranks) for each in found if not each.again)
    block = ranks * max((each.held(ranks) for each in found if each.again), default=0)
    return rest * 2 * width + block * (4 * width + 2 * 4)


def attended(models: Iterable[nn.Module], run: Callable[[], object]) -> int:
    """Numbers of tokens that attention within clips takes and gives (q, k, v, output) when `run` runs the models."""
    sizes: list[int] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
        del k
        sizes.append(4 * q.numel() * (q_lengths is k_lengths))
        return torch.empty_like(q, dtype=v.dtype)

    with swapped((module for model in models for module in model.modules() if hasattr(module, "attend")), attend):
        run()
    return sum(sizes)


@contextmanager
def swapped(modules: Iterable[nn.Module], attend: Any) -> Iterator[None]:
    """Within this context the modules attend by `attend`."""
    before = {module: module.attend for module in modules}
    for module in before:
        module.attend = attend
    try:
        yield
    finally:
        for module, own in before.items():
            module.attend = own


def traffic(
    found: Iterable[Unit],
    plan: Plan,
    *,
    micros: int,
    half: bool,
    tokens: int = 0,
    matrices: Sequence[Matrix] = (),
    matrix_bytes: int = 4,
) -> Traffic:
    """What a rank of a filled plan sends in a step.

    Args:
        found: the units of the models.
        plan: the parallel plan.
        micros: micro-batches of a rank in a step.
        half: whether the trainer computes in half precision.
        tokens: numbers of them in the attention of a whole micro-batch, by `attended`.
        matrices: what Muon works on.
        matrix_bytes: of a number of them on the way: 2 on a GPU.
    """
    ranks, copies, group = plan.parameter_shards, plan.copies, plan.sequence
    gathered = sum(each.held(ranks) * (2 if each.again else 1) for each in found)
    learnt = sum(each.learnt(ranks) for each in found)
    runs, width = 2 if plan.recompute == "none" else 3, 2 if half else 4
    return Traffic(
        gathers=micros * (ranks - 1) * gathered * width,
        scatters=micros * (ranks - 1) * learnt * 4,
        copies=round(Fraction(2 * (copies - 1), copies) * learnt * 4),
        trades=round(Fraction(micros * runs * (group - 1), group**2) * tokens * width),
        matrices=max(sent(matrices, ranks=ranks)) * matrix_bytes,
    )


class Sent(TorchDispatchMode):
    """Counts what this rank sends in real collectives, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[str, Fraction] = defaultdict(Fraction)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = func._schema.name
        if kind.startswith("c10d::"):
            group = next(dist.ProcessGroup.unbox(arg) for arg in args if isinstance(arg, torch.ScriptObject))
            kind = kind.removeprefix("c10d::").strip("_")
            self.bytes[kind] += weight(kind, args, group)
        return func(*args, **(kwargs or {}))


def weight(kind: str, args: Sequence[Any], group: dist.ProcessGroup) -> Fraction:
    """Bytes that a rank sends in one collective."""
    others = group.size() - 1
    if kind == "allgather_base":
        return Fraction(others * args[1].nbytes)
    if kind == "reduce_scatter_base":
        return Fraction(others * args[0].nbytes)
    if kind == "allreduce":
        return Fraction(2 * others, others + 1) * sum(tensor.nbytes for tensor in args[0])
    if kind == "alltoall_base":
        rows, given = args[4], args[1]
        own = rows[group.rank()] * given.nbytes // max(len(given), 1) if rows else Fraction(given.nbytes, others + 1)
        return Fraction(given.nbytes - own)
    raise AssertionError(f"{kind} is not counted")
