"""Training the VAE: reconstruction of pixels and of their differences, and the divergence to the unit Gaussian.

The linear way is set to the principal components of the first batches of the run; the latent statistics that the DiT's
normalisation needs follow the weights as running averages, and are stored with them.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from dit_video.flow.reconstruction import Reconstruction, moments, track
from dit_video.models.vae.init import principal
from dit_video.seeds import generator
from dit_video.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from dit_video.batch import ClipBatch
    from dit_video.models.vae import VAE


class VAETask(Task):
    """Trains a VAE on ClipBatch.

    Args:
        vae: makes the model.
        optim: makes the optimizer of named parameters.
        loss: weights of the terms.
        seed: key of the posterior's noise.
        whitening: how far the principal components are scaled to equal variance, 0 to 1.
        start_batches: micro-batches that the principal components are taken from; 0 leaves the random start.
    """

    made_whole = True

    def __init__(
        self,
        *,
        vae: Callable[[], VAE],
        optim: Callable[[list[tuple[str, nn.Parameter]]], torch.optim.Optimizer],
        loss: Reconstruction | None = None,
        seed: int = 0,
        whitening: float = 0.5,
        start_batches: int = 48,
    ) -> None:
        super().__init__()
        self.make, self.optim, self.seed = vae, optim, seed
        self.loss = loss or Reconstruction()
        self.whitening, self.start_batches = whitening, start_batches

    def begin(self) -> None:
        """A new run starts from principal components, of the same clips on all ranks; a resumed one does not."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        step, samples, rank, ranks = data.started
        if self.start_batches and step == 0:
            data.begin(0, samples, 0, 1)
            clips = [batch.video for batch in islice(data.train_dataloader(), self.start_batches)]
            principal(self.vae, clips, whitening=self.whitening)
            data.begin(step, samples, rank, ranks)

    def build(self) -> None:
        """Make the model, as it is before anything is learnt."""
        self.vae = self.make()

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer and the EMA hold."""
        return dict(self.vae.named_parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer over all parameters."""
        return self.optim(list(self.trained().items()))

    def training_step(self, batch: ClipBatch, index: int) -> dict[str, Any]:
        """The loss, weighted by clips over the global step."""
        del index
        place = batch.place
        video, posterior = self.vae(batch.video, self.noise(batch))
        terms = self.loss(video.float(), batch.video, posterior.kl())
        share = batch.weight / place.step_weight
        seen = self.trainer.strategy.reduce(moments(posterior.mean.detach().float()), reduce_op="mean")
        track(self.vae.mean, self.vae.std, seen)
        metrics = {name: (value.detach() * share).sum() for name, value in terms._asdict().items()}
        loss = (terms.loss * share).sum()
        return {"loss": loss * place.micros * self.trainer.world_size, "metrics": metrics}

    def rehearse(self, batch: ClipBatch) -> Tensor:
        """The loss of a batch whose tensors have sizes alone: what a step computes, for the plan of a run."""
        video, posterior = self.vae(
            batch.video, torch.empty(self.vae.latent_shape(batch.video), device=batch.video.device)
        )
        return self.loss(video.float(), batch.video, posterior.kl()).loss.sum()

    def noise(self, batch: ClipBatch) -> Tensor:
        """The posterior's noise, keyed by the batch's place in the order."""
        source = generator(self.seed, "posterior", *batch.place.packs[0])
        return torch.randn(self.vae.latent_shape(batch.video), generator=source).to(batch.video)
