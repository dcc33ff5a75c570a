"""Through a VAE and back: any size and length, whole or in a stream, every frame beside its own copy."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dit_video.evaluation.roundtrip import PIECE, copies, fitted, pieces
from dit_video.models.vae import VAE, Posterior
from dit_video.models.vae.pretrained import Pretrained
from dit_video.shapes import Compression
from tests.fakes.fake.published import made

Video = NDArray[np.uint8]


def video(frames: int, height: int = 18, width: int = 21) -> Video:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


class Blocks(nn.Module):
    """Keeps every pixel: the latent is the video folded; the most frames at once are counted."""

    compression = Compression(time=4, space=8, channels=3)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.seen = 0

    def posterior(self, pixels: Tensor) -> Posterior:
        assert (pixels.shape[2] - 1) % 4 == pixels.shape[3] % 8 == pixels.shape[4] % 8 == 0
        return Posterior(pixels, torch.zeros_like(pixels))

    def normalise(self, latent: Tensor) -> Tensor:
        return latent

    def stream_encode(self, videos: Iterator[Tensor], *, tile: int | None) -> Iterator[Tensor]:
        for pixels in videos:
            self.seen = max(self.seen, pixels.shape[2])
            yield pixels

    def stream_decode(self, latents: Iterator[Tensor], *, tile: int | None = None) -> Iterator[Tensor]:
        yield from latents


class Whole(Blocks):
    """The same, but it takes clips whole alone."""

    stream_encode = None  # type: ignore[assignment]


def through(vae: Any, frames: Video, **settings: Any) -> tuple[Video, Video, list[Posterior], list[Tensor]]:
    told: list[Posterior] = []
    latents: list[Tensor] = []
    pairs = list(copies(vae, iter(frames), posterior=told.append, latent=latents.append, **settings))
    originals, made_ = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
    return originals, made_, told, latents


@pytest.mark.parametrize("kind", [Blocks, Whole])
@pytest.mark.parametrize("frames", [1, 2, 5, 17, 18, 40])
def test_every_frame_is_beside_its_own_copy_whatever_the_size(kind: type[Blocks], frames: int) -> None:
    vae, given = kind(), video(frames)
    originals, back, told, latents = through(vae, given)
    assert np.array_equal(originals, given)
    assert np.array_equal(back, given)
    assert len(told) == 1
    assert sum(latent.shape[2] for latent in latents) == 1 + -(-(frames - 1) // 4) * 4


def test_a_stream_is_given_pieces_and_no_more() -> None:
    vae = Blocks()
    through(vae, video(200))
    assert vae.seen == 1 + 4 * PIECE


def test_no_more_frames_are_alive_than_two_pieces_have_however_long_the_video() -> None:
    alive: list[weakref.ref[Video]] = []
    most = 0

    def frames() -> Iterator[Video]:
        for number in range(300):
            frame = np.full((8, 8, 3), number % 256, np.uint8)
            alive.append(weakref.ref(frame))
            yield frame

    for _ in copies(Blocks(), frames(), posterior=lambda found: None, latent=lambda found: None):
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 300
    assert most <= 2 * (1 + 4 * PIECE)


def test_our_vae_streams_what_it_decodes_whole() -> None:
    torch.manual_seed(0)
    vae = VAE(channels=4, widths=[8, 8], blocks=[1, 1], time=[2, 2], space=[4, 2]).eval()
    given = video(21, 16, 24)
    originals, back, _, latents = through(vae, given)
    assert np.array_equal(originals, given)
    with torch.inference_mode():
        pixels = torch.from_numpy(given).permute(3, 0, 1, 2)[None] / 127.5 - 1
        latent = vae.encode(pixels)
        whole = ((vae.decode(latent)[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()
    assert np.abs(back.astype(int) - whole).max() <= 1
    torch.testing.assert_close(torch.cat(latents, dim=2), latent, rtol=1e-4, atol=1e-4)
    tiled = through(vae, given, tile=8)
    assert np.abs(tiled[1].astype(int) - whole).max() <= 1
    assert tiled[2][0].mean.shape[-2:] == (1, 1)


@pytest.mark.parametrize("family", ["wan-2.1", "mochi", "dc-ae"])
def test_published_vaes_give_back_clips_that_do_not_fit_them(family: str) -> None:
    given = video(8)
    originals, back, _, _ = through(Pretrained(made(family)), given)
    assert np.array_equal(originals, given)
    assert back.shape == given.shape


def test_what_is_added_repeats_the_last_frame_and_the_borders() -> None:
    given = video(3, 5, 6)
    whole = fitted(given, time=4, space=4, starts=True)
    assert whole.shape == (5, 8, 8, 3)
    assert np.array_equal(whole[:3, :5, :6], given)
    assert np.array_equal(whole[4], whole[2])
    assert np.array_equal(whole[:, 7], whole[:, 4])
    assert fitted(given, time=4, space=1, starts=False).shape[0] == 4
    assert fitted(given[:1], time=4, space=1, starts=True).shape[0] == 1


def test_pieces_are_all_frames_in_order() -> None:
    given = video(14, 4, 4)
    parts = list(pieces(given, first=5, rest=4))
    assert [len(part) for part in parts] == [5, 4, 4, 1]
    assert np.array_equal(np.concatenate(parts), given)
