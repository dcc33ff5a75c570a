"""Measures how much a second of training gets done, all ranks together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.batch import ClipBatch, PackBatch
from dit_video.callbacks.consistent import plan_of
from dit_video.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PEAKS = {"H200": 989.0, "H100 PCIe": 756.0, "H100": 989.0, "B200": 2250.0, "A100": 312.0, "L40S": 362.0, "4090": 165.0}
"""Dense bfloat16 by name of the device, in 10^12 FLOPs a second."""


@runtime_checkable
class Waiting(Protocol):
    """A loader that knows how long it was waited for."""

    waited: float  # seconds since it was made


@runtime_checkable
class Counted(Protocol):
    """A task that knows what a forward costs."""

    def flops(self, *, tokens: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """FLOPs of a forward over each clip of `tokens` in `frames` latent frames."""
        ...


class Throughput(Callback):
    """Measures a step's `samples_per_second`, and `tokens_per_second` (packs) or `frames_per_second` (clips).

    Where the loader says how long it was waited for, `data_wait` is that share of the step's time, on this rank. Where
    the task knows its FLOPs, `mfu` is their share of what the device can do: three forwards a step, without recompute.

    Args:
        tflops: what a device can do, in 10^12 FLOPs a second; by default its makers' figure for bfloat16, if known.
    """

    def __init__(self, *, tflops: float | None = None) -> None:
        if tflops is not None and not tflops > 0:
            raise ConfigError(f"callbacks.throughput.tflops must be above 0, got {tflops:g}")
        self.tflops = tflops
        self.since = time.perf_counter()
        self.samples_seen: int | None = None
        self.amount = 0
        self.clips: list[tuple[list[int], Tensor]] = []
        self.waited = 0.0
        self.rates: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look up what the device can do."""
        if self.tflops is None and pl_module.device.type == "cuda":
            name = torch.cuda.get_device_name(pl_module.device)
            self.tflops = next((peak for part, peak in PEAKS.items() if part in name), None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: ClipBatch | PackBatch, batch_idx: int
    ) -> None:
        """Count the micro-batch; close the account when the step is complete."""
        unit, amount = size(batch)
        self.amount += amount
        counted = self.tflops is not None and isinstance(batch, PackBatch) and isinstance(pl_module, Counted)
        if counted and isinstance(batch, PackBatch):
            self.clips.append(clips(batch))
        place = batch.place
        if place.micro < place.micros - 1:
            return
        flops = self.flops(pl_module) if counted else 0.0
        now = time.perf_counter()
        seconds = max(now - self.since, 1e-9)
        plan = plan_of(pl_module, trainer.world_size)
        self.rates = {f"{unit}_per_second": self.amount * plan.data_ranks / seconds}
        if self.samples_seen is not None:
            self.rates["samples_per_second"] = (place.samples_seen - self.samples_seen) / seconds
            if counted and self.tflops is not None:
                self.rates["mfu"] = flops / plan.sequence / seconds / (self.tflops * 1e12)
        if isinstance(loader := trainer.train_dataloader, Waiting):
            if self.samples_seen is not None:
                self.rates["data_wait"] = (loader.waited - self.waited) / seconds
            self.waited = loader.waited
        self.since, self.samples_seen, self.amount, self.clips = now, place.samples_seen, 0, []

    def flops(self, task: Any) -> float:
        """FLOPs of the step on this data rank, forward and backward."""
        tokens = np.asarray([length for lengths, _ in self.clips for length in lengths], np.int64)
        frames = torch.cat([counts for _, counts in self.clips]).cpu().numpy()
        return 3.0 * float(task.flops(tokens=tokens, frames=frames).sum())

    def measures(self) -> dict[str, float]:
        """The last step's rates."""
        return self.rates


def clips(batch: PackBatch) -> tuple[list[int], Tensor]:
    """Tokens of each clip of a pack, but for padding, and its latent frames, which stay on the device."""
    layout = batch.layout
    real = [clip for clip, key in enumerate(batch.keys) if key]
    counts = torch.zeros(len(layout.lengths), dtype=torch.int64, device=layout.sample.device)
    counts = counts.index_add(0, layout.sample, torch.ones_like(layout.sample))
    return [layout.lengths[clip] for clip in real], counts[real]


def size(batch: ClipBatch | PackBatch) -> tuple[str, int]:
    """What a batch is counted in, and how much of it this data rank has."""
    if isinstance(batch, PackBatch):
        return "tokens", len(batch.data)
    return "frames", batch.video.shape[0] * batch.video.shape[2]
