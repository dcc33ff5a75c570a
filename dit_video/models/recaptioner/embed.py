"""From a video of any size to tokens that know where and when they are.

- `glance`: a fixed number of windows of a few frames each, at one short side, so that cost never depends on the clip
  and a thing of a given share of the picture covers the same number of tokens in any clip.
- A window's frames are channels of the first convolution: movement becomes a matter of edges.
- `contrast`: each pixel's distance from the mean colour of its window, as a fourth channel; with normalisation by
  channel and sample it frees shape and movement from colour. Linear probes of the stem on the shapes corpus, after
  4,000 clips: direction of movement 25 % without, 98 % with; shape 43 % without, 97 % with both and a short side of 48.
- `fourier`: features of real coordinates (frame numbers, short sides), not of token indices.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

WINDOW = 4
"""Frames of a window."""
STRIDE = 4
"""Frames between the frames of a window, at most."""
CELL = 8
"""Pixels of a glance for each token, in each direction."""
LONGEST = 4
"""Long side of a glance in short sides, at most; what is longer is squeezed."""


def glance_size(height: int, width: int, *, side: int) -> tuple[int, int]:
    """Height and width, multiples of CELL, with a short side of about `side`, a long one of at most LONGEST."""
    scale = side / min(height, width)
    rows, columns = (CELL * max(1, round(min(edge * scale, LONGEST * side) / CELL)) for edge in (height, width))
    return rows, columns


def glance_frames(count: int, *, windows: int) -> Tensor:
    """Frame numbers (w, WINDOW), int64, of at most `windows` windows spread over `count` frames; an image repeats."""
    span = min(count - 1, STRIDE * (WINDOW - 1))
    starts = torch.linspace(0, count - 1 - span, max(1, min(windows, (count - 1) // max(span, 1))))
    if len(starts) == 1:
        starts = torch.tensor([(count - 1 - span) / 2])
    return (starts[:, None] + torch.linspace(0, span, WINDOW)).floor().long()


def glance(video: Tensor, *, windows: int, side: int) -> tuple[Tensor, Tensor]:
    """What the encoder looks at: (b, 3, w, WINDOW, h', w') and the frame numbers (w, WINDOW) in `video`."""
    count, height, width = video.shape[2:]
    times = glance_frames(count, windows=windows).to(video.device)
    seen = rearrange(video.index_select(2, times.flatten()), "b c t h w -> (b t) c h w")
    size = glance_size(height, width, side=side)
    if size != (height, width):
        seen = F.interpolate(seen, size=size, mode="bilinear", antialias=True, align_corners=False)
    return rearrange(seen, "(b w t) c h x -> b c w t h x", w=len(times), t=WINDOW), times


def fourier(position: Tensor, *, bands: int, longest: float, shortest: float) -> Tensor:
    """Sines and cosines (n, 2 * bands) of `position` (n,); wavelengths from `longest` to `shortest`, geometric."""
    steps = torch.linspace(0, 1, bands, device=position.device)
    angle = position[:, None].float() * (2 * math.pi / longest) * (longest / shortest) ** steps
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def contrast(windows: Tensor) -> Tensor:
    """Distance (b, 1, t, h, w) of each pixel of (b, c, t, h, w) from its window's mean colour, in units of its RMS."""
    distance = (windows - windows.mean(dim=(2, 3, 4), keepdim=True)).square().sum(1, keepdim=True) + 1e-4
    return (distance / distance.mean(dim=(2, 3, 4), keepdim=True)).sqrt()


def by_channel(width: int) -> nn.GroupNorm:
    """Normalisation of every channel of every sample on its own."""
    return nn.GroupNorm(width, width)


class Stem(nn.Module):
    """Windows (b, 3, WINDOW, h, w) to features (b, width, h / CELL, w / CELL)."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        narrow, middle = max(32, 3 * width // 8), max(64, 3 * width // 4)
        self.edges = nn.Conv2d(4 * WINDOW, narrow, 4, stride=2, padding=1)
        self.parts = nn.Conv2d(narrow, middle, 3, stride=2, padding=1)
        self.corners = nn.Conv2d(middle, middle, 3, padding=1)
        self.shapes = nn.Conv2d(middle, width, 3, stride=2, padding=1)
        self.out = nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList(map(by_channel, (narrow, middle, middle, width)))

    def forward(self, windows: Tensor) -> Tensor:
        """Features of each window by itself."""
        seen = rearrange(torch.cat([windows, contrast(windows)], dim=1), "b c t h w -> b (c t) h w")
        signal = F.gelu(self.norms[0](self.edges(seen)))
        signal = F.gelu(self.norms[1](self.parts(signal)))
        signal = signal + F.gelu(self.norms[2](self.corners(signal)))
        signal = F.gelu(self.norms[3](self.shapes(signal)))
        return self.out(signal)


class Place(nn.Module):
    """3-D positions as an additive code of (w * h * w') tokens, each of `width`."""

    BANDS = 6

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(4 * 2 * self.BANDS, width, bias=False)

    def forward(self, times: Tensor, *, height: int, width: int) -> Tensor:
        """Time is a window's first frame and its span; rows and columns count short sides from the middle."""
        short = min(height, width)
        rows = (torch.arange(height, device=times.device) + 0.5 - height / 2) / short
        columns = (torch.arange(width, device=times.device) + 0.5 - width / 2) / short
        start, span = times[:, 0], times[:, -1] - times[:, 0]
        time = [fourier(axis, bands=self.BANDS, longest=128.0, shortest=4.0) for axis in (start, span)]
        row, column = (fourier(axis, bands=self.BANDS, longest=4.0, shortest=0.25) for axis in (rows, columns))
        code = torch.cat(
            [
                repeat(torch.cat(time, dim=-1), "t k -> t h w k", h=height, w=width),
                repeat(row, "h k -> t h w k", t=len(times), w=width),
                repeat(column, "w k -> t h w k", t=len(times), h=height),
            ],
            dim=-1,
        )
        return self.project(rearrange(code, "t h w k -> (t h w) k"))


class Embed(nn.Module):
    """A video to tokens (b, n, width): glance, stem, place."""

    def __init__(self, *, width: int, windows: int, side: int) -> None:
        super().__init__()
        self.windows, self.side = windows, side
        self.stem, self.place = Stem(width=width), Place(width=width)

    def forward(self, video: Tensor) -> Tensor:
        """Tokens of video (b, 3, t, h, w): window by window, row by row."""
        seen, times = glance(video, windows=self.windows, side=self.side)
        features = self.stem(rearrange(seen, "b c w t h x -> (b w) c t h x"))
        place = self.place(times, height=features.shape[2], width=features.shape[3])
        return rearrange(features, "(b w) k h x -> b (w h x) k", w=len(times)) + place
