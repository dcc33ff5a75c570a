"""From requests to frames: one window of a bucket's length after the other, each given the end of what there is.

- Text to video starts from nothing, image to video and extension forward from given frames, extension backward from
  the frames that follow: `Request.start` and `Request.end`. A video longer than a bucket is extended until it is long
  enough.
- Given frames come back untouched, but for an image, which comes back through the VAE like the frames made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange

from dit_video.errors import RequestError
from dit_video.pipeline.denoise import Sampling, Window, denoise
from dit_video.pipeline.request import Request, share, snap
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from dit_video.models.dit import DiT
    from dit_video.models.text.encoder import TextEncoder
    from dit_video.pipeline.load import Autoencoder
    from dit_video.pipeline.recipe import Recipe

    Frames = NDArray[np.uint8]

AT_ONCE = 4
"""Latent frames decoded together: what decoding takes does not grow with the clip."""


@dataclass(frozen=True)
class Models:
    """What sampling needs: the autoencoder, the transformer, its text encoder, and what they were trained on."""

    vae: Autoencoder
    dit: DiT
    text: TextEncoder
    recipe: Recipe


@dataclass
class _Work:
    """A request on its way: `frames` made or given so far, `missing` still to make."""

    request: Request
    frames: Frames | None
    missing: int
    rounds: int = 0


def generate(
    requests: Iterable[Request], *, models: Models, sampling: Sampling, tokens: int = 4096
) -> Iterator[Frames]:
    """Frames (t, h, w, 3) uint8 of each request in turn, as soon as its group is finished.

    Args:
        requests: what to make; they are drawn and checked as groups need them, so their frames need not be in memory.
        models: with what.
        sampling: how.
        tokens: latent positions sampled at once.
    """
    for group in share(requests, tokens=tokens, recipe=models.recipe):
        works = [_Work(r, r.start if r.start is not None else r.end, r.frames) for r in group]
        while rest := [work for work in works if work.missing > 0]:
            _round(rest, models=models, sampling=sampling)
        yield from (work.frames for work in works if work.frames is not None)


def _round(works: Sequence[_Work], *, models: Models, sampling: Sampling) -> None:
    """One more window of each."""
    windows, kept = zip(*(_window(work, models) for work in works), strict=True)
    latents = denoise(windows, dit=models.dit, text=models.text, sampling=sampling)
    if not all(torch.isfinite(latent).all() for latent in latents):
        raise RequestError("the model made values that are not finite; lower sampling.guidance, or train it further")
    videos = decode(latents, vae=models.vae)
    for work, video, known in zip(works, videos, kept, strict=True):
        _join(work, video, known)


def _window(work: _Work, models: Models) -> tuple[Window, int]:
    """The next window, and how many of its frames are known already."""
    request, recipe = work.request, models.recipe
    time, longest = recipe.compression.time, recipe.longest(request.height, request.width)
    compression = recipe.compression
    seed = seed_for(request.seed, "window", work.rounds)
    known = 0
    if work.frames is not None:
        most = (longest - 1) // time // 2  # half of the window, so that there is always something new in it
        known = 1 + time * min(most, (len(work.frames) - 1) // time)
    length = min(longest, snap(work.missing + known, time=time))
    side = compression.space
    shape = (compression.channels, 1 + (length - 1) // time, request.height // side, request.width // side)
    if work.frames is None:
        return Window(prompt=request.prompt, latent=torch.zeros(shape), seed=seed), 0
    if request.end is not None:
        tail = encode([work.frames[:known]], vae=models.vae)[0]
        main = torch.zeros(shape)[:, : shape[1] - tail.shape[1] + 1]
        return Window(prompt=request.prompt, latent=main, seed=seed, tail=tail), 1
    given = encode([work.frames[-known:]], vae=models.vae)[0]
    latent = torch.cat([given, torch.zeros(shape)[:, given.shape[1] :]], dim=1)
    return Window(prompt=request.prompt, latent=latent, seed=seed, given=given.shape[1]), known


def _join(work: _Work, video: Frames, known: int) -> None:
    """Put the window's new frames where they belong."""
    old, work.rounds = work.frames, work.rounds + 1
    if old is None:
        work.frames = video[: work.missing]
        work.missing -= len(work.frames)
    elif work.request.end is not None:
        new = video[:-1][-work.missing :]
        work.frames, work.missing = np.concatenate([new, old]), work.missing - len(new)
    else:
        new = video[known:][: work.missing]
        work.frames, work.missing = np.concatenate([video[:1] if len(old) == 1 else old, new]), work.missing - len(new)


def to_pixels(frames: Frames) -> Tensor:
    """uint8 (t, h, w, 3) to float (3, t, h, w) in [-1, 1]."""
    return rearrange(torch.from_numpy(frames), "t h w c -> c t h w").float() / 127.5 - 1


def to_frames(video: Tensor) -> Frames:
    """float (3, t, h, w), clamped to [-1, 1], to uint8 (t, h, w, 3)."""
    levels = (video.clamp(-1, 1) + 1) * 127.5
    return rearrange(levels.round().byte(), "c t h w -> t h w c").cpu().numpy()


@torch.inference_mode()
def encode(videos: Sequence[Frames], *, vae: Autoencoder) -> list[Tensor]:
    """Normalised latents (c, t', h', w'), each clip alone."""
    return [vae.encode(to_pixels(video)[None].to(vae.mean.device))[0].cpu() for video in videos]


@torch.inference_mode()
def decode(latents: Sequence[Tensor], *, vae: Autoencoder) -> list[Frames]:
    """Frames of latents (c, t', h', w'), equal sizes in one batch."""
    videos: list[Frames | None] = [None] * len(latents)
    sizes = {latent.shape for latent in latents}
    for size in sorted(sizes):
        places = [place for place, latent in enumerate(latents) if latent.shape == size]
        batch = torch.stack([latents[place] for place in places]).to(vae.mean.device)
        made = [[to_frames(video) for video in part] for part in vae.stream_decode(batch.split(AT_ONCE, dim=2))]
        for place, parts in zip(places, zip(*made, strict=True), strict=True):
            videos[place] = np.concatenate(parts)
    return videos  # type: ignore[return-value]
