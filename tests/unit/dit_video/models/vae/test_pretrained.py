"""Models of diffusers behind our protocol: their own pipelines' calls, in our sizes, streamed as they are decoded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from dit_video.errors import ConfigError, ShapeError
from dit_video.models.vae.pretrained import CLASSES, Pretrained
from tests.fakes.fake.published import FAMILIES, made

SIZES = {  # time, space, channels
    "wan-2.1": (4, 8, 4),
    "wan-2.2": (4, 16, 6),
    "ltx": (8, 32, 8),
    "ltx-0.9.1": (8, 32, 8),
    "ltx-2": (8, 32, 8),
    "cogvideox": (4, 8, 4),
    "hunyuanvideo": (4, 8, 4),
    "hunyuanvideo-1.5": (4, 16, 4),
    "mochi": (6, 8, 4),
    "dc-ae": (1, 8, 4),
}
families = pytest.mark.parametrize("family", FAMILIES)


def video(vae: Pretrained, *, batch: int = 1, latents: int = 3) -> torch.Tensor:
    time, space = vae.compression.time, vae.compression.space
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(batch, 3, 1 + time * (latents - 1), 2 * space, 3 * space, generator=generator) - 1


def by_hand(family: str, model: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised latent and copy by the very calls of the family's pipeline in diffusers."""
    scale = model.config.scaling_factor if "scaling_factor" in model.config else 1.0
    if family == "dc-ae":
        frames = [model.encode(frame).latent * scale for frame in pixels.unbind(2)]
        copies = [model.decode(frame / scale).sample for frame in frames]
        return torch.stack(frames, 2), torch.stack(copies, 2)
    latent = model.encode(pixels).latent_dist.mode()
    if family.startswith(("wan", "mochi", "ltx")):
        source = model if family.startswith("ltx") else model.config
        mean, std = (
            torch.as_tensor(getattr(source, f"latents_{name}")).view(1, -1, 1, 1, 1) for name in ("mean", "std")
        )
        normal = (latent - mean) * scale / std
        latent = normal * std / scale + mean
    else:
        normal = latent * scale
        latent = normal / scale
    if family == "ltx-0.9.1":
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return normal, model.decode(latent, torch.zeros(1)).sample
    return normal, model.decode(latent).sample


def test_every_class_has_a_family_here() -> None:
    assert {name for name, _ in FAMILIES.values()} == set(CLASSES)


@families
def test_latents_and_copies_are_those_of_the_family_s_own_pipeline(family: str) -> None:
    vae = Pretrained(made(family))
    assert tuple(vars(vae.compression).values()) == SIZES[family]
    pixels = video(vae)
    latent = vae.encode(pixels)
    assert latent.shape == vae.latent_shape(pixels)
    again = vae.decode(latent)
    assert again.shape == pixels.shape
    normal, by_pipeline = by_hand(family, made(family), pixels)
    assert_close(latent, normal, rtol=1e-5, atol=1e-5)
    assert_close(again, by_pipeline, rtol=1e-4, atol=1e-4)


@families
def test_an_image_is_a_video_of_one_frame(family: str) -> None:
    vae = Pretrained(made(family))
    image = video(vae, latents=1)
    assert vae.decode(vae.encode(image)).shape == image.shape


@families
def test_a_stream_is_the_whole_however_it_comes(family: str) -> None:
    vae = Pretrained(made(family))
    latent = torch.randn(1, vae.compression.channels, 4, 2, 3, generator=torch.Generator().manual_seed(2))
    whole = vae.decode(latent)
    assert whole.shape[2] == 1 + 3 * vae.compression.time
    for sizes in ([1, 1, 1, 1], [3, 1]):
        parts = list(vae.stream_decode(latent.split(sizes, dim=2)))
        assert_close(torch.cat(parts, dim=2), whole, rtol=1e-4, atol=1e-4)
        assert len(parts) > 1 or not vae.streams


@families
def test_a_clip_does_not_depend_on_its_batch(family: str) -> None:
    vae = Pretrained(made(family))
    pixels = video(vae, batch=2, latents=2)
    both = vae.encode(pixels)
    assert_close(both[1:], vae.encode(pixels[1:]), rtol=1e-4, atol=1e-5)
    if family != "ltx-0.9.1":  # its noise is drawn clip by clip
        assert_close(vae.decode(both)[1:], vae.decode(both[1:]), rtol=1e-4, atol=1e-4)


def test_normalising_is_undone_and_has_the_statistics_of_the_model() -> None:
    vae = Pretrained(made("wan-2.1"))
    latent = torch.randn(1, 4, 2, 3, 3)
    assert_close(vae.denormalise(vae.normalise(latent)), latent)
    assert_close(vae.normalise(vae.mean[None, :, None, None, None]), torch.zeros(1, 4, 1, 1, 1))
    assert_close(Pretrained(made("cogvideox")).std, torch.full((4,), 1 / 1.15258426))


@pytest.mark.parametrize("shape", [(6, 32, 32), (5, 36, 32), (5, 32, 33)])
def test_a_size_that_has_no_latent_is_told(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ShapeError, match="must be"):
        Pretrained(made("wan-2.1")).encode(torch.zeros(1, 3, *shape))


def test_a_decoder_s_noise_is_the_same_each_time_and_moves_no_generator() -> None:
    vae = Pretrained(made("ltx-0.9.1"))
    latent = torch.randn(1, 8, 2, 2, 2)
    torch.manual_seed(5)
    first, state = vae.decode(latent), torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(vae.decode(latent), first)


def test_a_model_in_half_precision_takes_and_gives_float32() -> None:
    whole = Pretrained(made("wan-2.1"))
    half = Pretrained(copy.deepcopy(made("wan-2.1")).to(torch.bfloat16))
    pixels = video(whole)
    assert half.dtype == torch.bfloat16
    latent = half.encode(pixels)
    assert latent.dtype == half.decode(latent).dtype == torch.float32
    assert_close(latent, whole.encode(pixels), rtol=0.1, atol=0.1)
    assert half.mean.dtype == torch.float32


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in {"ltx-0.9.1", "ltx-2"}])
def test_frames_that_fit_into_a_tile_are_as_without_and_larger_ones_keep_their_size(family: str) -> None:
    space = SIZES[family][1]
    plain, tiled = Pretrained(made(family)), Pretrained(copy.deepcopy(made(family)), tile=4 * space)
    assert not tiled.streams
    small = video(plain, latents=2)
    assert_close(tiled.encode(small), plain.encode(small))
    large = torch.rand(1, 3, small.shape[2], 5 * space, 6 * space)
    latent = tiled.encode(large)
    assert latent.shape == plain.latent_shape(large)
    by_tiles = tiled.decode(latent)
    assert by_tiles.shape == large.shape
    assert not torch.allclose(by_tiles, plain.decode(latent), atol=1e-6)


def test_a_tile_that_does_not_fit_the_compression_is_told() -> None:
    for tile in (8, 36):
        with pytest.raises(ConfigError, match="multiple of 32"):
            Pretrained(made("wan-2.1"), tile=tile)


def test_a_model_without_a_distribution_is_a_point() -> None:
    vae = Pretrained(made("dc-ae"))
    found = vae.posterior(video(vae))
    assert torch.equal(found.sample(torch.randn_like(found.mean)), found.mean)
    assert torch.isinf(found.kl()).all()
