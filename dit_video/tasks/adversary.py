"""The discriminator's side of training a VAE: it learns in the same backward, and steers the reconstruction.

- All that is asked of the pixels is asked at a leaf: the reconstruction's loss pulls there, the discriminator pushes.
  One backward carries their sum through the decoder; the push is taken by itself, so the discriminator's parameters
  have the gradients of its own loss alone. One backward, one optimizer: accumulation, the guard, clipping, sharding and
  resume are those of any task.
- Terms of the adversary have a gradient and the value 0 in the step's loss, which stays the reconstruction's: what a
  spike is, is not decided by the game.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from dit_video.errors import ConfigError
from dit_video.flow import adversarial as game

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from dit_video.models.vae.discriminator import Discriminator


class Turn(NamedTuple):
    """A micro-batch of the game: `push` at the pixels, the discriminator's `loss` (), and figures of each clip (b,)."""

    push: Tensor
    loss: Tensor
    figures: dict[str, Tensor]


class Adversary:
    """How the discriminator is made and learns, and how much it may say.

    Args:
        discriminator: makes it.
        optim: makes its optimizer of named parameters; the rate follows the schedule of the VAE's.
        kind: relativistic compares a patch with its reconstruction, hinge judges each by itself.
        weight: norm of what the discriminator asks of the pixels, over what the reconstruction's loss asks.
        start: samples after which the discriminator begins to learn.
        alone: samples for which it learns before the reconstruction heeds it.
        warmup: samples over which the reconstruction comes to heed it in full.
        penalty: weight of its smoothness about real clips.
        sigma: standard deviation of the noise that it must be smooth under.
        rate: of the running averages of both norms, a step.
        limit: of the factor between the norms.
    """

    def __init__(
        self,
        *,
        discriminator: Callable[[], Discriminator],
        optim: Callable[[list[tuple[str, nn.Parameter]]], torch.optim.Optimizer],
        kind: game.Kind = "relativistic",
        weight: float = 0.5,
        start: int = 0,
        alone: int = 0,
        warmup: int = 0,
        penalty: float = 4.0,
        sigma: float = 0.05,
        rate: float = 0.05,
        limit: float = 1e4,
    ) -> None:
        if kind not in {"relativistic", "hinge"}:
            raise ConfigError(f"tasks.adversary.kind={kind} is unknown; expected relativistic or hinge")
        if min(weight, start, alone, warmup, penalty, sigma) < 0 or not 0 < rate <= 1:
            raise ConfigError("tasks.adversary needs a rate above 0 and up to 1, and nothing below 0")
        self.make, self.optim, self.kind = discriminator, optim, kind
        self.weight, self.start, self.alone, self.warmup = weight, start, alone, warmup
        self.penalty, self.sigma, self.rate, self.limit = penalty, sigma, rate, limit

    def plays(self, samples_seen: int) -> bool:
        """Whether the discriminator learns in the step that ends at so many samples."""
        return samples_seen > self.start

    def force(self, model: Discriminator, samples_seen: int) -> Tensor:
        """What the push is multiplied by in a step, (): the same in all of its micro-batches, on all ranks."""
        heeded = game.level(samples_seen, begin=self.start + self.alone, warmup=self.warmup)
        return self.weight * heeded * game.factor(model.squares, limit=self.limit)

    def turn(self, model: Discriminator, video: Tensor, target: Tensor, noise: Tensor, share: Tensor) -> Turn:
        """Judge a leaf `video` beside its `target` (b, 3, t, h, w); `share` (b,) is of the loss of the whole step."""
        fake = model(video)
        real, near = model(torch.cat([target, target + self.sigma * noise])).chunk(2)
        asked = game.generator_loss(real.detach(), fake, kind=self.kind)
        (push,) = torch.autograd.grad((asked * share).sum(), video, retain_graph=True)
        judged = game.discriminator_loss(real, fake, kind=self.kind)
        rough = game.smoothness(real, near)
        figures = {
            "asked": asked,
            "judged": judged,
            "rough": rough,
            "accuracy": game.accuracy(real, fake),
            "gap": game.patches(real - fake),
        }
        loss = ((judged + self.penalty * rough) * share).sum()
        return Turn(push, loss, {f"gan_{name}": value.detach() for name, value in figures.items()})

    def note(self, model: Discriminator, pull: Tensor, push: Tensor) -> None:
        """Add a micro-batch to the squares of the step."""
        with torch.no_grad():
            model.pending += torch.stack([pull.square().sum(), push.square().sum()])

    def settle(self, model: Discriminator, seen: Tensor) -> None:
        """The step is complete, and `seen` (2,) are its squares over all ranks."""
        game.average(model.squares, seen, rate=self.rate)
        model.pending.zero_()
