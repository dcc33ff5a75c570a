"""What all tasks share: models made without values, laid over the processes of the plan, and given values there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning import LightningModule

from dit_video.parallel.materialise import materialise
from dit_video.parallel.plan import Plan
from dit_video.parallel.sequence import heads
from dit_video.parallel.shard import save_memory
from dit_video.strategy import MeshStrategy

if TYPE_CHECKING:
    from torch import nn


class Task(LightningModule):
    """A LightningModule whose children are the models that `build` makes.

    `plan` is the run's parallel plan; train.py sets it. `made_whole` says that the models get their values before they
    are sharded, because `begin` works on whole tensors: for small models.
    """

    made_whole = False

    def __init__(self) -> None:
        super().__init__()
        self.plan = Plan(replicate=1)

    def build(self) -> None:
        """Make the models, as children of the task."""
        raise NotImplementedError

    def begin(self) -> None:
        """What a new run learns from the data before its first step."""

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer holds, and the EMA."""
        raise NotImplementedError

    def averaged(self) -> dict[str, nn.Parameter]:
        """What the EMA holds of it."""
        return self.trained()

    def configure_model(self) -> None:
        """Build the models once, on `meta`; check the plan; spread them over the processes; give them values.

        Raises ConfigError where the plan does not fit the models, before anything is allocated.
        """
        if self._modules:
            return
        with torch.device("meta"):
            self.build()
        models = dict(self.named_children())
        for model in models.values():
            self.plan.check(heads=heads(model), length=getattr(self.trainer.datamodule, "length", None))  # type: ignore[attr-defined]
        for name, model in models.items():
            if not self.made_whole:
                self.spread(model)
            materialise(model, device=self.home, seed=torch.initial_seed(), purpose=f"init {name}")  # type: ignore[arg-type]
        self.begin()
        for model in models.values():
            if self.made_whole:
                self.spread(model)

    @property
    def home(self) -> torch.device:
        """Where this process computes."""
        strategy = getattr(self.trainer, "strategy", None)
        return strategy.root_device if strategy is not None else torch.device("cpu")

    def spread(self, model: nn.Module) -> None:
        """Lay a model over the processes as the plan says; in place."""
        strategy = getattr(self.trainer, "strategy", None)
        if isinstance(strategy, MeshStrategy):
            strategy.spread(model, precision=self.trainer.precision)
        else:
            save_memory(model, self.plan)

    @property
    def part(self) -> dict[str, int]:
        """Which part of a pack's tokens this process has: `rank` of `size`."""
        size = self.plan.sequence
        return {"rank": self.trainer.global_rank % size if size > 1 else 0, "size": size}
