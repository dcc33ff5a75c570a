"""Where data and tasks meet: the two kinds of batches, and nothing else, cross from `datamodules` to `tasks`.

- `ClipBatch`: pixels of equal-sized clips, for the VAE and the recaptioner.
- `PackBatch`: patch tokens of clips of any sizes, packed into one sequence, for the DiT.
- Both carry their `Place` in the order of data, which is a pure function of (dataset, seed, step): noise, levels and
  logs are keyed by it, so no loader or rank has state worth saving.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in the order a micro-batch stands.

    `step` counts optimizer steps from 0; `samples_seen` counts the samples of all ranks up to and including this step;
    `micro` of `micros` is this micro-batch's number in the rank's share of the step; `packs` names each pack as
    (stream, pack); `step_weight` is the loss weight (tokens or clips) of the whole global step, from the index alone.
    """

    step: int
    samples_seen: int
    micro: int
    micros: int
    packs: tuple[tuple[int, int], ...]
    step_weight: float


class Movable:
    """A frozen record whose tensors move together."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The same record with every tensor (and nested record) on `device`."""
        moved = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if hasattr(value, "to"):
                moved[field.name] = value.to(device, non_blocking=non_blocking)
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True, kw_only=True)
class ClipBatch(Movable):
    """Equal-sized clips in pixels.

    `video` (b, 3, t, h, w), float32 in [-1, 1]; `weight` (b,) is 0 for a damaged sample (its pixels are zeros);
    `captions`, `keys` one a clip; `fps` frames per second of all of them.
    """

    video: Tensor
    weight: Tensor
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    fps: float
    place: Place


@dataclass(frozen=True, kw_only=True)
class Layout(Movable):
    """How n tokens make up s clips. Everything about a pack but its values.

    - `position` (n, 3) float32: time, row, column. Time is the last video frame a latent stands for, over the time
      compression (so a clip from the start has 0, 1, 2, ...); row and column count patches.
    - `frame` (n,) int64: which of the f latent frames of the pack the token belongs to; each has its own noise level.
    - `sample` (f,) int64: which of the s clips the frame belongs to.
    - `given` (f,) bool: the frame is a condition: clean, and without loss.
    - `lead` (f,) bool: the frame is the first of an encoded clip, so it stands for a single video frame.
    - `extent` (s, 2) float32: rows and columns of patches in a frame of each clip.
    - `lengths`: tokens of each clip in order; they sum to n. Attention stays within a clip. Padding is a last clip of
      its own with weight 0.

    A sequence rank holds a stretch of the tokens: `position` and `frame` are of that stretch, all else of the whole.
    """

    position: Tensor
    frame: Tensor
    sample: Tensor
    given: Tensor
    lead: Tensor
    extent: Tensor
    lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class PackBatch(Movable):
    """Patch tokens of many clips in one sequence.

    `data` (n, c*p*p) clean latent patches; `weight` (n,) loss weight, 0 for given, padded and damaged tokens;
    `pack` (n,) int64 number of the pack within `place.packs` a token belongs to (noise is drawn pack by pack);
    `captions`, `keys`, `sources` one a clip (the chosen caption, "" where dropped; padding has "" in all three).
    """

    data: Tensor
    weight: Tensor
    pack: Tensor
    layout: Layout
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    sources: tuple[str, ...]
    place: Place
