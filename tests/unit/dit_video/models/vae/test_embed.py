"""The linear way: blocks of pixels, cut and joined without loss, each to its own latent."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.models.vae.embed import ToLatent, ToPixels, cut, join
from dit_video.shapes import Compression

COMPRESSION = Compression(time=2, space=4, channels=5)


@pytest.mark.parametrize(("time", "space"), [(1, 1), (1, 4), (2, 2)])
def test_cut_and_join(time: int, space: int) -> None:
    video = torch.randn(2, 3, 4, 8, 4)
    blocks = cut(video, time=time, space=space)
    assert blocks.shape == (2, 4 // time, 8 // space, 4 // space, 3 * time * space**2)
    assert torch.equal(join(blocks, time=time, space=space), video)


def test_a_latent_sees_its_block_alone() -> None:
    to_latent, video = ToLatent(COMPRESSION), torch.randn(1, 3, 5, 8, 8)
    before = to_latent(video)
    video[:, :, 3, 5, 1] += 1.0
    changed = (to_latent(video) - before).abs().sum(dim=1)[0].nonzero()
    assert changed.tolist() == [[2, 1, 0]]


def test_chunks_of_a_stream_are_the_whole() -> None:
    to_latent, to_pixels = ToLatent(COMPRESSION), ToPixels(COMPRESSION)
    video = torch.randn(1, 3, 5, 8, 8)
    latent = to_latent(video)
    assert latent.shape == (1, 5, 3, 2, 2)
    assert_close(torch.cat([to_latent(video[:, :, :3]), to_latent(video[:, :, 3:], starts=False)], dim=2), latent)
    chunks = [to_pixels(latent[:, :, :1]), to_pixels(latent[:, :, 1:], starts=False)]
    assert_close(torch.cat(chunks, dim=2), to_pixels(latent))
