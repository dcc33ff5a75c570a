"""A discriminator against a reconstruction: what each of them wants of the logits, clip by clip.

- Logits are (b, ...): one for each patch. A reconstruction is compared with the very clip it is of.
- `pull` is the gradient of the reconstruction's loss at its pixels, `push` that of the discriminator's opinion there.
  Their norms are balanced at the pixels, not at the decoder's last layer (Esser et al. 2021, equation 7), whose
  gradients are these carried one layer back: so any decoder will do, sharded or not, at no cost.
- Squares are averaged over steps: what steps in one step is steered by those before it, which all ranks know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import relu, softplus

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["relativistic", "hinge"]


def discriminator_loss(real: Tensor, fake: Tensor, *, kind: Kind) -> Tensor:
    """What the discriminator pays, (b,): Jolicoeur-Martineau 2019 with the pairs of Huang et al. 2025, or hinges."""
    if kind == "hinge":
        return patches(relu(1 - real) + relu(1 + fake)) / 2
    return patches(softplus(fake - real))


def generator_loss(real: Tensor, fake: Tensor, *, kind: Kind) -> Tensor:
    """What the reconstruction pays for its logits, (b,)."""
    return patches(-fake) if kind == "hinge" else patches(softplus(real - fake))


def smoothness(real: Tensor, near: Tensor) -> Tensor:
    """How far logits move for a little noise, squared, (b,): R1 without second derivatives (Lin et al. 2025, APT)."""
    return patches((real - near).square())


def accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Share of patches that look more real than their reconstruction, (b,): 0.5 by chance."""
    return patches((real > fake).to(real.dtype))


def patches(values: Tensor) -> Tensor:
    """The mean over a clip's patches, (b,)."""
    return values.flatten(1).mean(dim=1)


def level(samples_seen: int, *, begin: int, warmup: int) -> float:
    """Share of the discriminator's weight: 0 until `begin` samples, then linearly up to 1 over `warmup` samples."""
    past = samples_seen - begin
    return max(0.0, min(past / warmup, 1.0)) if warmup else float(past > 0)


def factor(squares: Tensor, *, limit: float) -> Tensor:
    """Norm of the pull over that of the push, (), at most `limit`, of their `squares` (2,); 0 until both are known."""
    pull, push = squares
    ratio = (pull / push.clamp_min(torch.finfo(squares.dtype).tiny)).sqrt().clamp(max=limit)
    return torch.where((pull > 0) & (push > 0), ratio, torch.zeros_like(ratio))


@torch.no_grad()
def average(squares: Tensor, seen: Tensor, *, rate: float) -> None:
    """Move running squares (2,) towards those of a step, the first of which are taken as they are; in place."""
    squares.copy_(torch.where(squares > 0, torch.lerp(squares, seen, rate), seen))


def silent(loss: Tensor) -> Tensor:
    """Zero, with the gradient of `loss`; not finite where `loss` is not."""
    return loss - loss.detach()


def steer(video: Tensor, gradient: Tensor) -> Tensor:
    """Zero, whose gradient at `video` is `gradient`."""
    return silent((video * gradient.detach()).sum())
