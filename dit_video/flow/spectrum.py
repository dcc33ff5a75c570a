"""Differences of two videos that squared errors forgive: amplitudes of fine detail, and edges at several sizes.

A reconstruction that is unsure of where a texture lies loses least by leaving it out. Amplitudes do not ask where: the
windowed spectra of luma are compared without their phases, as multi-resolution STFT losses do for sound (Yamamoto et
al. 2020), by logarithms, so that what is weak counts as much as what is strong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch.nn.functional import avg_pool2d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # BT.709
FLOOR = 0.02  # amplitudes far below it, two steps of 8 bits, are noise


def spectrum(video: Tensor, target: Tensor, *, sizes: Sequence[int] = (8, 16)) -> Tensor:
    """Mean absolute difference of log amplitudes over windows of these sizes, (b,); videos (b, 3, t, h, w).

    Windows overlap by half; sizes above that of the frame are left out.
    """
    found = [amplitudes(video, size) - amplitudes(target, size) for size in sizes if size <= min(video.shape[-2:])]
    if not found:
        return torch.zeros(len(video), device=video.device)
    return torch.stack([difference.abs().flatten(1).mean(dim=1) for difference in found]).mean(dim=0)


def amplitudes(video: Tensor, size: int) -> Tensor:
    """Log amplitudes (b, t, rows, columns, size, size // 2 + 1) of the windows of a video's luma."""
    luma = torch.einsum("bcthw,c->bthw", video.float(), torch.tensor(LUMA, device=video.device))
    window = torch.hann_window(size, device=video.device)
    windows = luma.unfold(2, size, size // 2).unfold(3, size, size // 2) * window[:, None] * window
    waves = torch.view_as_real(torch.fft.rfft2(windows, norm="ortho"))
    return (waves.square().sum(dim=-1) + FLOOR**2).log() / 2


def edges(error: Tensor, *, scales: int = 1) -> Tensor:
    """Mean absolute difference of neighbours in rows and in columns, (b,), of an error (b, 3, t, h, w).

    It is the mean over `scales` sizes, each half the one before.
    """
    found, frames = [], rearrange(error, "b c t h w -> (b t) c h w")
    for scale in range(scales):
        if min(frames.shape[-2:]) < 2:
            break
        steps = [frames.diff(dim=axis).abs().flatten(1).mean(dim=1) for axis in (-2, -1)]
        found.append(rearrange(steps[0] + steps[1], "(b t) -> b t", b=len(error)).mean(dim=1))
        if scale < scales - 1 and min(frames.shape[-2:]) >= 2:
            frames = avg_pool2d(frames, 2)
    return torch.stack(found).mean(dim=0) if found else torch.zeros(len(error), device=error.device)
