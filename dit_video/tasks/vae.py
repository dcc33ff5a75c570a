"""Training the VAE: reconstruction of pixels, of their differences and their detail, the divergence to the unit
Gaussian, and in the end a discriminator.

The linear way is set to the principal components of the first batches of the run; the latent statistics that the DiT's
normalisation needs follow the weights as running averages, and are stored with them. A run may begin with the weights
of another (`weights`), at other sizes or with another loss, and train the decoder alone: then the encoder, the
statistics and every latent that was ever encoded stay as they are.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import torch

from dit_video import checkpoint
from dit_video.errors import CheckpointError, ConfigError
from dit_video.flow.adversarial import silent, steer
from dit_video.flow.reconstruction import Reconstruction, moments, track
from dit_video.models.vae.init import principal
from dit_video.optim.both import Both
from dit_video.seeds import generator
from dit_video.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from dit_video.batch import ClipBatch
    from dit_video.models.vae import VAE, Posterior
    from dit_video.models.vae.discriminator import Discriminator
    from dit_video.tasks.adversary import Adversary


class VAETask(Task):
    """Trains a VAE on ClipBatch.

    Args:
        vae: makes the model.
        optim: makes the optimizer of named parameters.
        loss: weights of the terms.
        adversary: the discriminator's side, or none.
        seed: key of the posterior's noise.
        whitening: how far the principal components are scaled to equal variance, 0 to 1.
        start_batches: micro-batches that the principal components are taken from; 0 leaves the random start.
        weights: run, checkpoint or exported file whose VAE a new run begins with, averaged weights where there are.
        parts: what is trained.
    """

    made_whole = True

    def __init__(
        self,
        *,
        vae: Callable[[], VAE],
        optim: Callable[[list[tuple[str, nn.Parameter]]], torch.optim.Optimizer],
        loss: Reconstruction | None = None,
        adversary: Adversary | None = None,
        seed: int = 0,
        whitening: float = 0.5,
        start_batches: int = 48,
        weights: str | None = None,
        parts: Literal["all", "decoder"] = "all",
    ) -> None:
        super().__init__()
        if parts not in {"all", "decoder"}:
            raise ConfigError(f"tasks.parts={parts} is unknown; expected all or decoder")
        if parts == "decoder" and weights is None:
            raise ConfigError("tasks.parts=decoder needs an encoder that has learnt; set tasks.weights=RUN")
        self.make, self.optim, self.adversary, self.seed = vae, optim, adversary, seed
        self.loss = loss or Reconstruction()
        self.whitening, self.start_batches = whitening, start_batches
        self.weights, self.parts = weights, parts

    def begin(self) -> None:
        """A new run starts from other weights or principal components, alike on all ranks; a resumed one does not."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        step, samples, rank, ranks = data.started
        if step == 0 and self.weights:
            self.take(self.weights)
        elif step == 0 and self.start_batches:
            data.begin(0, samples, 0, 1)
            clips = [batch.video for batch in islice(data.train_dataloader(), self.start_batches)]
            principal(self.vae, clips, whitening=self.whitening)
            data.begin(step, samples, rank, ranks)

    def take(self, path: str) -> None:
        """The VAE of another run, and its discriminator where both have one; CheckpointError where they do not fit."""
        from dit_video.pipeline.load import find

        stored = find(path)
        found = {"vae": stored.models("vae", ema=True)["vae"].state_dict()}
        if self.adversary and not stored.exported:
            raw, mark = checkpoint.weights(stored.path, ema=False, verified=stored.verified), "discriminator."
            judge = {name.removeprefix(mark): value for name, value in raw.items() if name.startswith(mark)}
            found |= {"discriminator": judge} if judge else {}
        for name, state in found.items():
            try:
                getattr(self, name).load_state_dict(state)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1].strip()
                raise CheckpointError(f"tasks.weights={path} does not fit this {name}: {reason}") from error

    def build(self) -> None:
        """Make the models, as they are before anything is learnt."""
        self.vae = self.make()
        if self.parts == "decoder":
            self.vae.encoder.requires_grad_(requires_grad=False)
        if self.adversary:
            self.discriminator: Discriminator = self.adversary.make()

    def averaged(self) -> dict[str, nn.Parameter]:
        """What the EMA holds: what is used afterwards."""
        return {name: p for name, p in self.vae.named_parameters() if p.requires_grad}

    def judging(self) -> dict[str, nn.Parameter]:
        """The parameters of the discriminator, if there is one."""
        found = self.discriminator.named_parameters() if self.adversary else ()
        return {f"discriminator.{name}": parameter for name, parameter in found}

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer holds."""
        return self.averaged() | self.judging()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer over all parameters, and over those of the discriminator."""
        first = self.optim(list(self.averaged().items()))
        return Both(first, self.adversary.optim(list(self.judging().items()))) if self.adversary else first

    def training_step(self, batch: ClipBatch, index: int) -> dict[str, Any]:
        """The loss, weighted by clips over the global step."""
        del index
        place = batch.place
        video, posterior = self.vae(batch.video, self.noise(batch, "posterior", self.vae.latent_shape(batch.video)))
        self.follow(posterior)
        share = batch.weight / place.step_weight
        contested = self.adversary and self.adversary.plays(place.samples_seen) and torch.is_grad_enabled()
        loss, figures = (self.contest if contested else self.agree)(video.float(), posterior.kl(), batch, share)
        metrics = {name: (value.detach() * share).sum() for name, value in figures.items()}
        return {"loss": loss * place.micros * self.trainer.world_size, "metrics": metrics}

    def agree(self, video: Tensor, kl: Tensor, batch: ClipBatch, share: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss without a discriminator, and figures of each clip."""
        terms = self.loss(video, batch.video, kl)
        return (terms.loss * share).sum(), terms.known()

    def contest(self, video: Tensor, kl: Tensor, batch: ClipBatch, share: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The same value, with what the discriminator asks, and what it learns, in its gradients."""
        assert self.adversary is not None
        model, place = self.discriminator, batch.place
        force = self.adversary.force(model, place.samples_seen)
        leaf = video.detach().requires_grad_()
        terms = self.loss(leaf, batch.video, kl.detach())
        (pull,) = torch.autograd.grad((terms.loss * share).sum(), leaf)
        noise = self.noise(batch, "near", tuple(batch.video.shape))
        turn = self.adversary.turn(model, leaf, batch.video, noise, share)
        self.adversary.note(model, pull, turn.push)
        if place.micro == place.micros - 1:
            self.adversary.settle(model, self.trainer.strategy.reduce(model.pending, reduce_op="sum"))
        entropy = self.loss.kl * (self.loss.divergence(kl) * share).sum()
        loss = (terms.loss.detach() * share).sum() + silent(entropy) + silent(turn.loss)
        figures = terms.known() | turn.figures | {"gan_force": force.expand(len(share))}
        return loss + steer(video, pull + force * turn.push), figures

    def follow(self, posterior: Posterior) -> None:
        """Move the latent statistics, unless latents are to stay what they are."""
        if self.parts == "all":
            seen = self.trainer.strategy.reduce(moments(posterior.mean.detach().float()), reduce_op="mean")
            track(self.vae.mean, self.vae.std, seen)

    def rehearse(self, batch: ClipBatch) -> Tensor:
        """The loss of a batch whose tensors have sizes alone: what a step computes, for the plan of a run."""
        like, share = batch.video, torch.ones(len(batch.video), device=batch.video.device)
        video, posterior = self.vae(like, torch.empty(self.vae.latent_shape(like), device=like.device))
        loss = (self.loss(video.float(), like, posterior.kl()).loss * share).sum()
        if self.adversary and torch.is_grad_enabled():
            leaf = video.detach().float().requires_grad_()
            loss = loss + self.adversary.turn(self.discriminator, leaf, like, torch.empty_like(like), share).loss
        elif self.adversary:
            loss = loss + self.discriminator(like.repeat(3, 1, 1, 1, 1)).sum()  # the copy, the clip, and near it
        return loss

    def noise(self, batch: ClipBatch, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Unit Gaussian noise, keyed by the batch's place in the order."""
        source = generator(self.seed, purpose, *batch.place.packs[0])
        return torch.randn(shape, generator=source).to(batch.video)
