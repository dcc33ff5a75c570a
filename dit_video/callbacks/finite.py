"""Before an update that is not finite all ranks leave the step out, or stop; the samples are named and written down.

- A step left out has no gradients: weights and optimizer (decay and counts too) keep their bits. Buffers that the
  forward has moved, such as the VAE's statistics, are put back, and `ema` does not move.
- A step costs one look at the device's values, and one exchange of two numbers, not on the device.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from dit_video import log
from dit_video.batch import ClipBatch, PackBatch
from dit_video.callbacks.replay import Replay
from dit_video.callbacks.skip import Skips
from dit_video.errors import ConfigError, UserError
from dit_video.optim.clip import total_norm
from dit_video.parallel import agree


class Finite(Callback):
    """Checks the loss and the norm of the gradient on every rank; measures `grad_norm`, before clipping.

    Args:
        dir: folder of the run; what was left out is written to `dir`/replay.
        policy: whether a step that is not finite is left out, or ends the run.
        in_a_row: most steps in a row that are left out before the run stops.
        share: most of all steps that are, beyond that many.
        replays: steps that are kept in `dir`/replay.
    """

    def __init__(
        self,
        *,
        dir: str,  # noqa: A002 - the folder of the run, as everywhere
        policy: Literal["skip", "stop"] = "skip",
        in_a_row: int = 3,
        share: float = 0.01,
        replays: int = 20,
    ) -> None:
        if policy not in {"skip", "stop"} or replays < 1:
            raise ConfigError(
                f"callbacks.finite needs policy skip or stop and replays >= 1, got {policy} and {replays}"
            )
        self.policy = policy
        self.skips = Skips("callbacks.finite", in_a_row=in_a_row, share=share)
        self.replay = Replay(Path(dir) / "replay", keep=replays)
        self.parts: list[Tensor] = []
        self.losses: list[float] = []
        self.buffers: list[tuple[Tensor, Tensor]] = []
        self.step, self.left_out = 0, 0
        self.loss, self.norm = 0.0, 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Note what the step is made of, and what a forward may change."""
        if batch.place.micro == 0:
            self.replay.begin()
            self.parts = []
            self.buffers = [(b, b.clone()) for b in pl_module.buffers() if b.is_floating_point()]
        self.replay.note(batch)
        self.step = batch.place.step + 1

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss of a micro-batch."""
        self.parts.append(loss.detach().float() / trainer.world_size)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Leave the step out, or raise UserError, on all ranks, where a loss or gradient of any is not finite."""
        norm = total_norm(p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
        *self.losses, self.norm = torch.stack([*self.parts, norm.to(self.parts[0].device).float()]).tolist()
        rows = agree.gathered([bits(sum(self.losses)), bits(self.norm)])
        losses, norms = ([number(row[column]) for row in rows] for column in (0, 1))
        self.loss = sum(losses)
        if all(map(math.isfinite, (*losses, *norms))):
            self.skips.passed()
            return
        guilty = [rank for rank, loss in enumerate(losses) if not math.isfinite(loss)]
        guilty = guilty or [rank for rank, norm in enumerate(norms) if not math.isfinite(norm)]
        what = f"the loss is {self.loss:g} and the gradient's norm {max(norms, key=rough):g}"
        what = f"{what}, by {ranked(guilty)}"
        self.leave_out(optimizer, what=what, guilty=guilty, rank=trainer.global_rank)
        if self.policy == "stop":
            raise UserError(f"{self.told(what, guilty, rank=trainer.global_rank)}; lower optim.lr, or leave them out")
        self.warn(what, guilty, rank=trainer.global_rank)
        self.skips.add(self.step, what=f"step {self.step}: {what}")

    def leave_out(self, optimizer: Optimizer, *, what: str, guilty: list[int], rank: int) -> None:
        """Nothing is learnt from this step; the guilty ranks write down what it was made of."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        with torch.no_grad():
            for buffer, before in self.buffers:
                buffer.copy_(before)
        self.left_out = self.step
        if rank in guilty:
            about: dict[str, str | float] = {"reason": what, "loss": self.loss, "grad_norm": self.norm}
            self.replay.write(step=self.step, rank=rank, about=about, losses=self.losses)

    def warn(self, what: str, guilty: list[int], *, rank: int) -> None:
        """Say on the first guilty rank that nothing is learnt from the step."""
        if rank == guilty[0]:
            told = self.told(what, guilty, rank=rank)
            log.get("dit_video").warning("%s; they stand in %s", told, self.replay.folder)

    def told(self, what: str, guilty: list[int], *, rank: int) -> str:
        """The step in words, with the samples of this rank if it is a guilty one."""
        samples = f". Samples of rank {rank}: {' '.join(self.replay.keys)}" if rank in guilty else ""
        return f"step {self.step}: {what}; nothing is learnt from it{samples}"

    def kept(self) -> dict[str, Tensor]:
        """What a run that goes on must know."""
        return {"finite.counts": self.skips.counts}

    def measures(self) -> dict[str, Any]:
        """The norm of the step's gradient, and how many steps were left out."""
        return {"grad_norm": self.norm, "not_finite": self.skips.total}


def ranked(ranks: list[int]) -> str:
    """Ranks in words, the first few of many."""
    few = ", ".join(map(str, ranks[:8])) + (", ..." if len(ranks) > 8 else "")
    return f"rank {few}" if len(ranks) == 1 else f"ranks {few}"


def rough(value: float) -> float:
    """What is not finite above all that is."""
    return value if math.isfinite(value) else math.inf


def bits(value: float) -> int:
    """A float's bits as an integer, to send."""
    found: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return found


def number(value: int) -> float:
    """The float of these bits."""
    found: float = struct.unpack("<d", struct.pack("<q", value))[0]
    return found
