"""From windows (what is given, and how much to make) to latents: every way of sampling comes down to this."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from dit_video.errors import RequestError
from dit_video.ops.layout import conditioned, join
from dit_video.ops.patch import unpatchify
from dit_video.sampler.guidance import guide
from dit_video.sampler.loop import integrate, schedule
from dit_video.sampler.solvers import STEPS
from dit_video.seeds import generator
from dit_video.shapes import LatentShape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from dit_video.batch import Layout
    from dit_video.models.dit import DiT
    from dit_video.models.text.encoder import TextEncoder
    from dit_video.sampler.solvers import Velocity


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample.

    Args:
        steps: of the solver.
        solver: euler or heun.
        guidance: scale of classifier-free guidance; 1 is none.
        shift: of the levels towards noise.
        lead: make a clip's first frame first, as an image, and the rest from it.
    """

    steps: int = 20
    solver: str = "euler"
    guidance: float = 2.5
    shift: float = 1.0
    lead: bool = False

    def __post_init__(self) -> None:
        if self.solver not in STEPS:
            raise RequestError(f"sampling.solver={self.solver} is unknown; expected one of {', '.join(STEPS)}")
        if self.steps < 1:
            raise RequestError(f"sampling.steps={self.steps} makes nothing; expected at least 1")
        if not 0 < self.shift < math.inf:
            raise RequestError(f"sampling.shift={self.shift} is no shift; expected a number above 0, 1 for none")
        if not math.isfinite(self.guidance):
            raise RequestError(f"sampling.guidance={self.guidance} is no scale; expected a number, 1 for none")


@dataclass(frozen=True, kw_only=True)
class Window:
    """One clip to make.

    `latent` (c, t, h, w), normalised, holds the given first `given` frames (the rest is ignored); `tail` (c, t', h, w)
    is the latent of the frames that follow, encoded as a clip of its own, whose first frame is the window's last.
    """

    prompt: str
    latent: Tensor
    seed: int
    given: int = 0
    tail: Tensor | None = None


@torch.inference_mode()
def denoise(
    windows: Sequence[Window],
    *,
    dit: DiT,
    text: TextEncoder,
    sampling: Sampling,
    seen: Callable[[int], None] | None = None,
) -> list[Tensor]:
    """The latent (c, t, h, w) of each window; given frames come back as they were."""
    if sampling.lead:
        windows = _with_lead(windows, dit=dit, text=text, sampling=sampling)
    clips = []
    for window in windows:
        pattern, cut = ("suffix", window.latent.shape[1] - 1) if window.tail is not None else ("prefix", window.given)
        clips.append(conditioned(window.latent, tail=window.tail, pattern=pattern, cut=cut, patch=dit.patch))
    data, _, layout = join(clips)
    noise = torch.cat(
        [
            torch.randn(clip.data.shape, generator=generator(window.seed, "sample"))
            for clip, window in zip(clips, windows, strict=True)
        ]
    )
    device = next(dit.parameters()).device
    data, noise, layout = data.to(device), noise.to(device), layout.to(device)
    given = layout.given[layout.frame, None]
    with_prompt = _velocity(dit, layout, text([window.prompt for window in windows]))
    without = _velocity(dit, layout, text([""] * len(windows)))
    noisy = integrate(
        guide(with_prompt, without, scale=sampling.guidance),
        torch.where(given, data, noise),
        schedule(sampling.steps, shift=sampling.shift).to(device),
        step=STEPS[sampling.solver],
        seen=seen,
    )
    return [
        _latent(tokens, window, dit.patch) for tokens, window in zip(noisy.split(layout.lengths), windows, strict=True)
    ]


def _velocity(dit: DiT, layout: Layout, context: Tensor) -> Velocity:
    """The model's velocity with given frames at level 0 and at rest."""
    given = layout.given[layout.frame, None]

    def velocity(noisy: Tensor, sigma: Tensor) -> Tensor:
        levels = torch.where(layout.given, torch.zeros_like(sigma), sigma)
        return dit(noisy, levels, layout, context).masked_fill(given, 0.0)

    return velocity


def _latent(tokens: Tensor, window: Window, patch: int) -> Tensor:
    """The window's own frames, without the tail's."""
    _, frames, height, width = window.latent.shape
    own = frames * (height // patch) * (width // patch)
    return unpatchify(tokens[:own], shape=LatentShape(frames=frames, height=height, width=width), patch=patch)


def _with_lead(windows: Sequence[Window], *, dit: DiT, text: TextEncoder, sampling: Sampling) -> list[Window]:
    """The same windows with their first frame made, where nothing was given."""
    free = [w for w in windows if not w.given and w.tail is None and w.latent.shape[1] > 1]
    if not free:
        return list(windows)
    images = [replace(window, latent=window.latent[:, :1]) for window in free]
    made = iter(denoise(images, dit=dit, text=text, sampling=replace(sampling, lead=False)))
    ids = {id(window) for window in free}
    return [
        replace(w, latent=torch.cat([next(made).to(w.latent), w.latent[:, 1:]], dim=1), given=1) if id(w) in ids else w
        for w in windows
    ]
