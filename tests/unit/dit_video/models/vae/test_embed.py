"""The linear way: blocks of pixels, cut and joined without loss, each to its own latent, all of it or its low part."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.models.vae.embed import Band, ToLatent, ToPixels, bands, cosines, cut, join
from dit_video.shapes import Compression

COMPRESSION = Compression(time=2, space=4, channels=5)


@pytest.mark.parametrize(("time", "space"), [(1, 1), (1, 4), (2, 2)])
def test_cut_and_join(time: int, space: int) -> None:
    video = torch.randn(2, 3, 4, 8, 4)
    blocks = cut(video, time=time, space=space)
    assert blocks.shape == (2, 4 // time, 8 // space, 4 // space, time, space, space, 3)
    assert torch.equal(join(blocks), video)


def test_cosines_are_orthonormal_and_the_first_is_the_mean() -> None:
    waves = cosines(6, 6, like=torch.zeros((), dtype=torch.float64))
    assert_close(waves @ waves.T, torch.eye(6, dtype=torch.float64))
    assert_close(waves[0], torch.full((6,), 6**-0.5, dtype=torch.float64))
    assert torch.equal(cosines(2, 6, like=waves), waves[:2])


@pytest.mark.parametrize("kept", [None, (2, 4), (9, 9)])
def test_all_frequencies_lose_nothing(kept: tuple[int, int] | None) -> None:
    band, video = Band(time=2, space=4, kept=kept), torch.randn(1, 3, 4, 8, 12)
    values = band.analyse(video)
    assert values.shape == (1, 2, 2, 3, 3 * 2 * 4 * 4)
    assert_close(band.synthesise(values), video)
    assert_close(values.square().sum(), video.square().sum())


def test_low_frequencies_are_the_nearest_smooth_video() -> None:
    """What a band leaves out is orthogonal to all that it can hold; a constant loses nothing."""
    band, video = Band(time=4, space=8, kept=(2, 3)), torch.randn(1, 3, 4, 8, 16, dtype=torch.float64)
    assert band.size == 3 * 2 * 3 * 3
    smooth = band.synthesise(band.analyse(video))
    assert_close(band.synthesise(band.analyse(smooth)), smooth)
    assert_close(band.analyse(video - smooth), torch.zeros(1, 1, 1, 2, band.size, dtype=torch.float64))
    flat = torch.ones_like(video)
    assert_close(band.synthesise(band.analyse(flat)), flat)


def test_a_first_frame_has_no_frequencies_in_time() -> None:
    first, rest = bands(Compression(time=8, space=32, channels=128), (4, 12))
    assert (first.size, rest.size) == (3 * 12 * 12, 4 * 3 * 12 * 12)


def test_a_latent_sees_its_block_alone() -> None:
    for band in (None, (2, 3)):
        to_latent, video = ToLatent(COMPRESSION, band=band), torch.randn(1, 3, 5, 8, 8)
        before = to_latent(video)
        video[:, :, 3, 5, 1] += 1.0
        changed = (to_latent(video) - before).abs().sum(dim=-1)[0].nonzero()
        assert changed.tolist() == [[2, 1, 0]]


@pytest.mark.parametrize("band", [None, (1, 3)])
def test_chunks_of_a_stream_are_the_whole(band: tuple[int, int] | None) -> None:
    to_latent, to_pixels = ToLatent(COMPRESSION, band=band), ToPixels(COMPRESSION, band=band)
    video = torch.randn(1, 3, 5, 8, 8)
    latent = to_latent(video)
    assert latent.shape == (1, 3, 2, 2, 5)
    assert_close(torch.cat([to_latent(video[:, :, :3]), to_latent(video[:, :, 3:], starts=False)], dim=1), latent)
    chunks = [to_pixels(latent[:, :1]), to_pixels(latent[:, 1:], starts=False)]
    assert_close(torch.cat(chunks, dim=2), to_pixels(latent))
