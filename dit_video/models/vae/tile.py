"""Large frames in tiles. A tile carries as much of its surroundings as its core depends on, so there are no seams.

A network of convolutions and norms by position sees a known number of positions to each side (`coder.reach`). What is
computed of a tile with that margin is, in its core, what is computed of the whole frame; the margins are dropped,
nothing is blended.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Protocol

from dit_video.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor

    from dit_video.models.vae.block import Memory


@dataclass(frozen=True, kw_only=True)
class Span:
    """Positions `start` to `stop` of one axis, and `first` to `last` with their margins."""

    start: int
    stop: int
    first: int
    last: int

    def outer(self, scale: int) -> slice:
        """Core and margins in a tensor of `scale` entries a position."""
        return slice(self.first * scale, self.last * scale)

    def place(self, scale: int) -> slice:
        """The core in the whole."""
        return slice(self.start * scale, self.stop * scale)

    def core(self, scale: int) -> slice:
        """The core in what `outer` cuts out."""
        return slice((self.start - self.first) * scale, (self.stop - self.first) * scale)


def spans(length: int, *, core: int, margin: int) -> list[Span]:
    """`length` positions in spans of at most `core`, as even as can be."""
    count = -(-length // core)
    edges = [length * number // count for number in range(count + 1)]
    return [
        Span(start=start, stop=stop, first=max(start - margin, 0), last=min(stop + margin, length))
        for start, stop in pairwise(edges)
    ]


class Coder(Protocol):
    """An encoder or a decoder: `reach` is how many latent positions to each side it sees."""

    reach: int

    def __call__(self, x: Tensor, memory: Memory | None = None, *, starts: bool = True) -> Tensor:
        """(b, c, t, h, w) to what it makes of it; `memory` and `starts` for a clip that comes in chunks."""
        ...


class Passage:
    """A clip's way through a coder, in tiles and in chunks: knows what each tile's time convolutions remember.

    Args:
        coder: the way.
        scales: entries a side, of what goes in and of what comes out, to a latent position.
        tile: most pixels a side of a tile's core; None takes frames whole.
        streams: whether more chunks may follow.
    """

    def __init__(self, coder: Coder, *, scales: tuple[int, int], tile: int | None, streams: bool) -> None:
        if tile is not None and tile < max(scales):
            raise ShapeError(f"tile must be at least {max(scales)} pixels, the VAE's compression; got {tile}")
        self.coder, self.scales, self.streams, self.starts = coder, scales, streams, True
        self.core = None if tile is None else tile // max(scales)
        self.memories: dict[tuple[Span, Span], Memory] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """What is made of the next chunk (b, c, t, h, w)."""
        sides = [side // self.scales[0] for side in x.shape[-2:]]
        rows, columns = (spans(side, core=self.core or side, margin=self.coder.reach) for side in sides)
        tiles = list(product(rows, columns))
        made = self._whole(x, tiles) if len(tiles) == 1 else self._joined(x, tiles)
        self.starts = False
        return made

    def _whole(self, x: Tensor, tiles: list[tuple[Span, Span]]) -> Tensor:
        memory = self.memories.setdefault(tiles[0], {}) if self.streams else None
        return self.coder(x, memory, starts=self.starts)

    def _joined(self, x: Tensor, tiles: list[tuple[Span, Span]]) -> Tensor:
        inside, outside = self.scales
        whole = None
        for rows, columns in tiles:
            memory = self.memories.setdefault((rows, columns), {}) if self.streams else None
            made = self.coder(x[..., rows.outer(inside), columns.outer(inside)], memory, starts=self.starts)
            if whole is None:
                whole = made.new_empty(*made.shape[:3], *(side // inside * outside for side in x.shape[-2:]))
            whole[..., rows.place(outside), columns.place(outside)] = made[
                ..., rows.core(outside), columns.core(outside)
            ]
        assert whole is not None
        return whole
