"""Looking at the model in the midst of training: evaluation, with raw or averaged weights, and then on as before.

- All ranks look together: where weights are sharded, or tokens parted, a forward is an exchange among them.
- FSDP2 keeps the outermost weights gathered after a forward without a backward. They are let go before the weights
  change, or training would go on with the averages.
- Buffers that a forward moves are put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from lightning.pytorch import LightningModule, Trainer

from dit_video.callbacks.ema import Ema
from dit_video.launch import heartbeat


def average(trainer: Trainer) -> Ema | None:
    """The callback that averages the weights, if the run has one."""
    return next((item for item in trainer.callbacks if isinstance(item, Ema)), None)  # type: ignore[attr-defined]


def kinds(trainer: Trainer) -> tuple[str, ...]:
    """Which weights there are to look at."""
    return ("raw",) if average(trainer) is None else ("raw", "ema")


@contextmanager
def looking(trainer: Trainer, task: LightningModule, *, kind: str = "raw") -> Iterator[None]:
    """Within this context the task evaluates, with weights of this kind and without gradients."""
    ema = average(trainer) if kind == "ema" else None
    training = task.training
    buffers = [(buffer, buffer.clone()) for buffer in task.buffers() if buffer.is_floating_point()]
    reshard(task)
    try:
        task.eval()
        with heartbeat.within("show"), ema.swapped() if ema else nullcontext():
            try:
                with torch.no_grad(), trainer.precision_plugin.forward_context():
                    yield
            finally:
                reshard(task)
    finally:
        for buffer, before in buffers:
            buffer.detach().copy_(before)
        task.train(training)


def reshard(task: LightningModule) -> None:
    """Let go of gathered weights."""
    from torch.distributed.fsdp import FSDPModule

    for module in task.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
