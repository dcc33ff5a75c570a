"""Tiles: cores cover a frame once, margins hold what cores depend on, and so tiles equal the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from dit_video.errors import ShapeError
from dit_video.models.vae.tile import Passage, spans


@given(length=st.integers(1, 200), core=st.integers(1, 60), margin=st.integers(0, 9))
def test_cores_cover_an_axis_once(length: int, core: int, margin: int) -> None:
    made = spans(length, core=core, margin=margin)
    places = list(range(length))
    assert [place for span in made for place in places[span.place(1)]] == places
    for span in made:
        inner = places[span.outer(1)]
        assert len(places[span.place(1)]) <= core
        assert inner[span.core(1)] == places[span.place(1)]
        assert inner[0] == max(span.start - margin, 0)
        assert inner[-1] == min(span.stop + margin, length) - 1
    sizes = [span.stop - span.start for span in made]
    assert max(sizes) - min(sizes) <= 1


class Blur(nn.Module):
    """Sees two positions to each side, and adds the frames before; makes a position of 2x2 entries."""

    reach = 2

    def __init__(self) -> None:
        super().__init__()
        self.tiles: set[tuple[int, ...]] = set()

    def forward(self, x: Tensor, memory: dict[int, Tensor] | None = None, *, starts: bool = True) -> Tensor:
        self.tiles.add(tuple(x.shape[-2:]))
        x = nn.functional.avg_pool3d(x, (1, 2, 2))
        x = nn.functional.avg_pool3d(nn.functional.pad(x, (2, 2, 2, 2)), (1, 5, 5), stride=1)
        if memory is not None:
            assert starts == (0 not in memory)
            x = x + memory.get(0, torch.zeros_like(x))
            memory[0] = x
        return x


@pytest.mark.parametrize("tile", [2, 6, 7, 16, 64])
def test_tiles_are_the_whole(tile: int) -> None:
    blur, x = Blur(), torch.randn(2, 3, 1, 20, 28)
    whole = Passage(Blur(), scales=(2, 1), tile=None, streams=False)(x)
    assert_close(Passage(blur, scales=(2, 1), tile=tile, streams=False)(x), whole)
    assert max(max(size) for size in blur.tiles) <= min(tile + 2 * 2 * 2, 28)


def test_each_tile_remembers_its_own() -> None:
    x = torch.randn(1, 3, 1, 20, 28)
    by_tile, whole = (Passage(Blur(), scales=(2, 1), tile=tile, streams=True) for tile in (6, None))
    for _ in range(3):
        assert_close(by_tile(x), whole(x))
    assert len(by_tile.memories) == 4 * 5
    assert not by_tile.starts


def test_without_a_stream_nothing_is_remembered() -> None:
    passage = Passage(Blur(), scales=(2, 1), tile=6, streams=False)
    passage(torch.randn(1, 3, 1, 8, 8))
    assert not passage.memories


def test_a_tile_below_a_position_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"at least 32 pixels.*got 16"):
        Passage(Blur(), scales=(32, 1), tile=16, streams=False)
