"""Arithmetic of sizes: there and back, and errors that name both numbers."""

from __future__ import annotations

import pytest

from dit_video.errors import ShapeError
from dit_video.shapes import Compression, LatentShape, VideoShape

COMPRESSION = Compression(time=4, space=8, channels=16)


@pytest.mark.parametrize("frames", [1, 5, 9, 81])
@pytest.mark.parametrize("size", [(8, 8), (32, 48), (480, 832)])
def test_round_trip(frames: int, size: tuple[int, int]) -> None:
    video = VideoShape(frames=frames, height=size[0], width=size[1])
    assert video.to_latent(COMPRESSION).to_video(COMPRESSION) == video


def test_tokens_are_frames_times_patches() -> None:
    latent = LatentShape(frames=3, height=4, width=6)
    assert latent.tokens(1) == 72
    assert latent.tokens(2) == 18
    assert latent.to_video(COMPRESSION).pixels == 9 * 32 * 48


@pytest.mark.parametrize(
    ("frames", "height", "width", "said"),
    [(4, 32, 32, r"1 \+ k\*4, got 4"), (5, 30, 32, "multiples of 8, got 30x32"), (5, 32, 33, "got 32x33")],
)
def test_what_cannot_be_compressed_is_said(frames: int, height: int, width: int, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        VideoShape(frames=frames, height=height, width=width).to_latent(COMPRESSION)


def test_what_does_not_divide_into_patches_is_said() -> None:
    with pytest.raises(ShapeError, match=r"4x5 .* patches of 2.*models\.dit\.patch"):
        LatentShape(frames=1, height=4, width=5).tokens(2)


def test_videos_sort_print_and_have_an_aspect() -> None:
    small, large = VideoShape(frames=1, height=8, width=16), VideoShape(frames=5, height=8, width=8)
    assert sorted([large, small]) == [small, large]
    assert (str(small), small.aspect) == ("1x8x16", 2.0)
