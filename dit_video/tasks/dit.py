"""Training the DiT: flow matching on packs, with a noise level a frame, and text trained along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dit_video.errors import ConfigError
from dit_video.flow.levels import Levels
from dit_video.flow.matching import corrupt, matching_loss
from dit_video.models.text.tokenizer import Tokenizer
from dit_video.parallel.sequence import part_batch, stretch
from dit_video.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dit_video.batch import PackBatch
    from dit_video.models.dit import DiT
    from dit_video.models.text.encoder import TextEncoder


class DiTTask(Task):
    """Trains a DiT and its small text encoder on PackBatch.

    Args:
        dit: makes the model.
        text: makes the text encoder.
        optim: makes the optimizer of named parameters.
        levels: distribution of noise levels.
        seed: key of the noise and its levels.
    """

    def __init__(
        self,
        *,
        dit: Callable[[], DiT],
        text: Callable[[], TextEncoder],
        optim: Callable[[list[tuple[str, nn.Parameter]]], torch.optim.Optimizer],
        levels: Levels | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.build_dit, self.build_text, self.optim = dit, text, optim
        self.levels, self.seed = levels or Levels(), seed

    def build(self) -> None:
        """Make the models, as they are before anything is learnt."""
        self.dit, self.text = self.build_dit(), self.build_text()

    def begin(self) -> None:
        """The vocabulary is a pure function of the dataset's captions."""
        texts = self.trainer.datamodule.texts()  # type: ignore[attr-defined]
        self.text.set_tokenizer(Tokenizer.train(texts, size=self.text.size))

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer and the EMA hold."""
        return {f"dit.{n}": p for n, p in self.dit.named_parameters()} | {
            f"text.{n}": p for n, p in self.text.named_parameters()
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer over both models."""
        return self.optim(list(self.trained().items()))

    def training_step(self, batch: PackBatch, index: int) -> dict[str, Any]:
        """The loss, weighted by tokens over the global step."""
        del index
        self.expect(batch)
        place = batch.place
        noisy, velocity, sigma = corrupt(batch, levels=self.levels, seed=self.seed)
        noisy, velocity, batch = (
            stretch(noisy, **self.part),
            stretch(velocity, **self.part),
            part_batch(batch, **self.part),
        )
        predicted = self.dit(noisy, sigma, batch.layout, self.text(batch.captions))
        loss, metrics = matching_loss(predicted, velocity, sigma, batch)
        return {"loss": loss * place.micros * self.trainer.world_size, "metrics": metrics}

    def expect(self, batch: PackBatch) -> None:
        """ConfigError where the batch is of latents that the DiT is not made for."""
        given, taken, area = batch.data.shape[1], self.dit.patch_in.in_features, self.dit.patch**2
        if given != taken:
            raise ConfigError(
                f"the latents have {given // area} channels and the DiT takes {taken // area}; "
                f"set models.dit.channels={given // area}"
            )

    def rehearse(self, batch: PackBatch) -> Tensor:
        """The error of a batch whose tensors have sizes alone: what a step computes, for the plan of a run."""
        self.expect(batch)
        device = batch.data.device
        words = torch.zeros(len(batch.layout.lengths), self.text.length, dtype=torch.int64, device=device)
        sigma = torch.empty(len(batch.layout.sample), device=device)
        predicted = self.dit(torch.empty_like(batch.data), sigma, batch.layout, self.text.encode(words))
        return (predicted.float() - batch.data).square().mean(dim=1).sum()

    def flops(self, *, tokens: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """FLOPs of one forward over each clip of `tokens` in `frames` latent frames, but for the text encoder's."""
        return self.dit.flops(tokens=tokens, frames=frames, words=self.text.length)
