"""What is asked of the sampler, checked before anything is allocated: prompt, size, length and what is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dit_video.errors import RequestError
from dit_video.shapes import VideoShape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from dit_video.pipeline.recipe import Recipe

LONGEST_PROMPT = 4_000


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

    @property
    def total(self) -> int:
        """Frames of the result with what is extended."""
        return self.frames + sum(len(given) for given in (self.start, self.end) if given is not None)

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


def share(requests: Iterable[Request], *, tokens: int, recipe: Recipe) -> Iterator[list[Request]]:
    """Requests in groups whose latents have at most `tokens` positions together (a group has at least one).

    Each is checked as it is drawn, and no more are drawn than a group needs.
    """
    group: list[Request] = []
    filled = 0
    for request in requests:
        request.check(recipe)
        longest = recipe.longest(request.height, request.width)
        frames = min(snap(request.frames, time=recipe.compression.time), longest)
        latent = VideoShape(frames=frames, height=request.height, width=request.width).to_latent(recipe.compression)
        if group and filled + latent.tokens(1) > tokens:
            yield group
            group, filled = [], 0
        group.append(request)
        filled += latent.tokens(1)
    if group:
        yield group
