"""From latent clips to the tokens of a pack: patches in the order (t h w), with positions, frames and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from einops import repeat
from torch import Tensor

from dit_video.batch import Layout
from dit_video.ops.patch import patchify


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip of a pack in tokens: the fields of Layout for itself alone; `frame` counts from 0.

    `data` (n, c*p*p), `weight` (n,), `position` (n, 3), `frame` (n,), `given` (f,), `lead` (f,);
    `extent` rows and columns of patches.
    """

    data: Tensor
    weight: Tensor
    position: Tensor
    frame: Tensor
    given: Tensor
    lead: Tensor
    extent: tuple[int, int]


def clip_tokens(latent: Tensor, *, times: Tensor, given: Tensor, lead: Tensor, patch: int, sound: bool = True) -> Clip:
    """Tokens of a latent (c, t, h, w) whose frames stand at `times` (t,); a clip that is not `sound` has weight 0."""
    data = patchify(latent, patch=patch)
    frames, rows, columns = latent.shape[1], latent.shape[2] // patch, latent.shape[3] // patch
    frame = repeat(torch.arange(frames), "t -> (t h w)", h=rows, w=columns)
    position = torch.stack(
        [
            times.float()[frame],
            repeat(torch.arange(rows), "h -> (t h w)", t=frames, w=columns).float(),
            repeat(torch.arange(columns), "w -> (t h w)", t=frames, h=rows).float(),
        ],
        dim=-1,
    )
    weight = (~given[frame]).float() * float(sound)
    return Clip(
        data=data, weight=weight, position=position, frame=frame, given=given, lead=lead, extent=(rows, columns)
    )


def conditioned(latent: Tensor, *, tail: Tensor | None, pattern: str, cut: int, patch: int, sound: bool = True) -> Clip:
    """Tokens of a clip under a conditioning pattern; `tail` is the latent of its last frames for a suffix."""
    if pattern == "suffix":
        if tail is None:
            raise AssertionError("a suffix needs its tail")
        main = latent[:, : cut + 1]
        joined = torch.cat([main, tail], dim=1)
        times = torch.cat([torch.arange(cut + 1), cut + torch.arange(tail.shape[1])])
        own = torch.arange(joined.shape[1])
        given, lead = own > cut, (own == 0) | (own == cut + 1)
        return clip_tokens(joined, times=times, given=given, lead=lead, patch=patch, sound=sound)
    times = torch.arange(latent.shape[1])
    return clip_tokens(latent, times=times, given=times < cut, lead=times == 0, patch=patch, sound=sound)


def padding(tokens: int, width: int) -> Clip:
    """Tokens that fill a pack up: one given frame of zeros at the origin."""
    return Clip(
        data=torch.zeros(tokens, width),
        weight=torch.zeros(tokens),
        position=torch.zeros(tokens, 3),
        frame=torch.zeros(tokens, dtype=torch.int64),
        given=torch.ones(1, dtype=torch.bool),
        lead=torch.ones(1, dtype=torch.bool),
        extent=(1, 1),
    )


def join(clips: Sequence[Clip]) -> tuple[Tensor, Tensor, Layout]:
    """Data (n, c*p*p), weight (n,) and layout of several clips in one sequence."""
    return torch.cat([clip.data for clip in clips]), *lay(clips)


def lay(clips: Sequence[Clip]) -> tuple[Tensor, Layout]:
    """Weight (n,) and layout of several clips in one sequence."""
    lengths, counts = [clip.frame.shape[0] for clip in clips], [clip.given.shape[0] for clip in clips]
    firsts = np.repeat([*accumulate(counts[:-1], initial=0)], lengths)  # torch's takes ten times as long
    layout = Layout(
        position=torch.cat([clip.position for clip in clips]),
        frame=torch.cat([clip.frame for clip in clips]).add_(torch.from_numpy(firsts)),
        sample=torch.from_numpy(np.repeat(np.arange(len(clips)), counts)),
        given=torch.cat([clip.given for clip in clips]),
        lead=torch.cat([clip.lead for clip in clips]),
        extent=torch.tensor([clip.extent for clip in clips], dtype=torch.float32),
        lengths=tuple(lengths),
    )
    return torch.cat([clip.weight for clip in clips]), layout
