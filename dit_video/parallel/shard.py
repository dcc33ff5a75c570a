"""A plan applied to a model from outside, in the one order that works.

Attention over sequence groups, compile, recompute, then FSDP2 block by block and around the whole: each pass sees the
ones before it. The model offers `blocks()`, the units of all of them; what lies outside blocks is one more unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import nn

from dit_video.parallel.mesh import AXES
from dit_video.parallel.sequence import attending, part_attention
from dit_video.parallel.tags import tag, tags

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import MixedPrecisionPolicy

    from dit_video.ops.attention import Attention
    from dit_video.parallel.plan import Plan

KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_mm.default,
}
"""What selective recompute keeps: the most FLOPs saved by a byte of memory."""
HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@runtime_checkable
class Shardable(Protocol):
    """A module that names the units of sharding, recompute and compilation."""

    def blocks(self) -> Iterator[nn.Module]:
        """The units, in the order in which the forward runs them."""
        ...


def units(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model; none where it has no `blocks()`, so that it is one unit."""
    return list(model.blocks()) if isinstance(model, Shardable) else []


def save_memory(model: nn.Module, plan: Plan) -> None:
    """Recompute and compile the blocks as the plan says; in place, names of parameters unchanged."""
    for block in units(model):
        if plan.compile:
            compile_(block)
        if plan.recompute != "none":
            recompute_(block, selective=plan.recompute == "selective")


def shard(
    model: nn.Module, plan: Plan, *, mesh: DeviceMesh, parameters: DeviceMesh, precision: str | int = "32-true"
) -> None:
    """Spread a model over the processes of a filled plan; in place. `mesh` and `parameters` are those of mesh.py."""
    from torch.distributed.fsdp import fully_shard

    if plan.sequence > 1:
        part_attention(model, mesh[AXES[2]].get_group())
    save_memory(model, plan)
    kept = tags(model)
    policy = mixed(precision)
    wrap: Any = partial(fully_shard, mesh=parameters, mp_policy=policy)
    for block in units(model):
        wrap(block)
    wrap(model)
    tag(model, kept)


def mixed(precision: str | int) -> MixedPrecisionPolicy:
    """Lightning's `trainer.precision` as the types of gathered parameters and reduced gradients."""
    from torch.distributed.fsdp import MixedPrecisionPolicy

    half = HALF.get(str(precision))
    if half is None:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)


def compile_(block: nn.Module) -> None:
    """Compile a block's forward, in place, but for attention: its kernels are compiled already.

    The lengths of clips, which are other ones in every pack, would be compiled into it.
    """
    for module in attending(block):
        module.attend = apart(module.attend)
    block.forward = torch.compile(block.forward)  # type: ignore[method-assign]


def apart(attend: Attention) -> Attention:
    """The same attention, which the compiler leaves alone."""

    @torch.compiler.disable
    def attention(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
        return attend(q, k, v, q_lengths, k_lengths)

    return attention


def recompute_(block: nn.Module, *, selective: bool) -> None:
    """Run a block's forward again in the backward pass instead of keeping its activations; in place.

    The block stays the same module with the same names: its `forward` alone is wrapped.
    """
    from torch.utils.checkpoint import (
        CheckpointPolicy,
        checkpoint,
        create_selective_checkpoint_contexts,
    )

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:  # torch's own signature
        del context, args, kwargs
        return CheckpointPolicy.MUST_SAVE if op in KEPT else CheckpointPolicy.PREFER_RECOMPUTE

    run = partial(checkpoint, block.forward, use_reentrant=False)
    if selective:
        run = partial(run, context_fn=partial(create_selective_checkpoint_contexts, policy))
    block.forward = run  # type: ignore[method-assign]
