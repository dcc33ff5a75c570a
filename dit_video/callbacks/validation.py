"""The loss on held-out clips, with raw and with averaged weights: the same clips, noise and levels at every interval.

Batches are dealt out to the data ranks. All run equally many forwards, since one may be an exchange among them; one
without a batch of its own computes another's again and drops it. The figures are those of one process, to rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dit_video.batch import ClipBatch, PackBatch
from dit_video.callbacks.consistent import plan_of
from dit_video.callbacks.look import kinds, looking
from dit_video.callbacks.metrics import on_host, over_ranks
from dit_video.errors import ConfigError
from dit_video.parallel import agree

Batch = ClipBatch | PackBatch


@runtime_checkable
class Holding(Protocol):
    """A datamodule with clips that are not trained on."""

    def validation(self, n: int) -> Sequence[Batch]:
        """At most `n` of them, in batches; the same ones every time."""
        ...


class Validation(Callback):
    """Measures `val_loss` and the task's other metrics, with averaged weights as `val_loss_ema`; by level where known.

    Args:
        every_samples: interval; 0 for never.
        clips: most held-out clips.
    """

    def __init__(self, *, every_samples: int = 0, clips: int = 64) -> None:
        if every_samples < 0 or clips < 1:
            raise ConfigError(
                f"callbacks.validation needs every_samples >= 0 and clips >= 1, got {every_samples} and {clips}"
            )
        self.every_samples, self.clips = every_samples, clips
        self.batches: list[tuple[Batch, bool]] = []
        self.seen = torch.zeros((), dtype=torch.int64)
        self.group: dist.ProcessGroup | None = None
        self.figures: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load this rank's clips; ConfigError where there are none."""
        if not self.every_samples:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        batches = data.validation(self.clips) if isinstance(data, Holding) else ()
        if not batches:
            raise ConfigError("no clip is held out; raise datamodules.validation, or set callbacks.validation=null")
        plan = plan_of(pl_module, trainer.world_size)
        self.batches = dealt(batches, rank=plan.data_rank(trainer.global_rank), ranks=plan.data_ranks)
        self.group = agree.fresh_group()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Measure when an interval is full, on all ranks."""
        place = batch.place
        if not self.every_samples or place.micro < place.micros - 1:
            return
        self.figures = {}
        if place.samples_seen // self.every_samples > int(self.seen) // self.every_samples:
            self.seen.fill_(place.samples_seen)
            for kind in kinds(trainer):
                sums = self.measure(trainer, pl_module, kind)
                self.figures |= named(sums, suffix="" if kind == "raw" else f"_{kind}")

    def measure(self, trainer: Trainer, pl_module: LightningModule, kind: str) -> dict[str, float]:
        """The task's metrics, added up over all held-out clips."""
        sums: dict[str, Tensor | float] = defaultdict(float)
        with looking(trainer, pl_module, kind=kind):
            for number, (batch, counted) in enumerate(self.batches):
                metrics = pl_module.training_step(batch.to(pl_module.device), number)["metrics"]
                for name, value in metrics.items() if counted else ():
                    sums[name] = sums[name] + value.detach()
        return over_ranks(on_host(sums), group=self.group)

    def kept(self) -> dict[str, Tensor]:
        """What a run that goes on must know."""
        return {"validation.seen": self.seen}

    def measures(self) -> dict[str, float]:
        """Of the step just completed, where an interval ended with it."""
        return self.figures


def dealt(batches: Sequence[Batch], *, rank: int, ranks: int) -> list[tuple[Batch, bool]]:
    """The batches of a rank, weighted over all of them, and whether they count: equally many on every rank."""
    total = sum(float(batch.weight.sum()) for batch in batches) or 1.0
    whole = [replace(batch, place=replace(batch.place, micro=0, micros=1, step_weight=total)) for batch in batches]
    return [(whole[(first + rank) % len(whole)], first + rank < len(whole)) for first in range(0, len(whole), ranks)]


def named(sums: Mapping[str, float], *, suffix: str) -> dict[str, float]:
    """Figures to log: means where a sum of a part (`loss_PART`) has a share of the whole beside it (`share_PART`)."""
    found = {}
    for name, value in sums.items():
        share = sums.get(f"share_{name.removeprefix('loss_')}")
        if not name.startswith("share_") and share != 0:
            found[f"val_{name}{suffix}"] = value if share is None else value / share
    return found
