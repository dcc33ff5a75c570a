"""What is asked of the sampler, checked before anything is allocated: prompt, size, length and what is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dit_video.errors import RequestError
from dit_video.shapes import Compression, VideoShape

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

LONGEST_PROMPT = 4_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a DiT was trained on: its buckets, frame rate and the VAE's compression."""

    buckets: tuple[VideoShape, ...]
    fps: float
    compression: Compression

    def longest(self, height: int, width: int) -> int:
        """Most frames of a bucket of this size; RequestError for a size that no bucket has."""
        frames = [b.frames for b in self.buckets if (b.height, b.width) == (height, width)]
        if not frames:
            sizes = sorted({f"{b.width}x{b.height}" for b in self.buckets})
            raise RequestError(
                f"size={width}x{height} is in no bucket of this model; expected one of {', '.join(sizes)}"
            )
        return max(frames)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One video to make.

    `frames` counts the frames of the result without what is extended; `start` and `end` are given frames
    (t, height, width, 3) uint8, before and after the ones to make.
    """

    prompt: str
    height: int
    width: int
    frames: int
    seed: int = 0
    start: NDArray[np.uint8] | None = None
    end: NDArray[np.uint8] | None = None

    def check(self, recipe: Recipe) -> None:
        """RequestError where the request cannot be served by a model of this recipe."""
        if len(self.prompt) > LONGEST_PROMPT:
            raise RequestError(
                f"prompt has {len(self.prompt)} characters; expected at most {LONGEST_PROMPT}; shorten prompt="
            )
        if self.frames < 1:
            raise RequestError(f"a video has at least one frame, got {self.frames}; raise seconds=")
        given = self.start is not None or self.end is not None
        if recipe.longest(self.height, self.width) == 1 and (self.frames > 1 or given):
            raise RequestError(
                f"this model makes only images of size={self.width}x{self.height}; choose another size=, or seconds=0"
            )
        if self.start is not None and self.end is not None:
            raise RequestError("frames are given before and after; expected one of extend=forward and extend=backward")


def snap(frames: int, *, time: int) -> int:
    """The least 1 + k*time that is at least `frames`."""
    return 1 + time * max(-(-(frames - 1) // time), 0)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of a size written WIDTHxHEIGHT."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise RequestError(f"size={text} is not a size; expected WIDTHxHEIGHT, such as size=48x32")
    return int(parts[1]), int(parts[0])


def share(requests: Sequence[Request], *, tokens: int, recipe: Recipe) -> list[list[Request]]:
    """Requests in groups whose latents have at most `tokens` positions together (a group has at least one)."""
    groups: list[list[Request]] = []
    filled = tokens
    for request in requests:
        longest = recipe.longest(request.height, request.width)
        frames = min(snap(request.frames, time=recipe.compression.time), longest)
        latent = VideoShape(frames=frames, height=request.height, width=request.width).to_latent(recipe.compression)
        if filled + latent.tokens(1) > tokens:
            groups.append([])
            filled = 0
        groups[-1].append(request)
        filled += latent.tokens(1)
    return groups
