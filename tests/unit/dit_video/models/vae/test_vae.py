"""The VAE is causal: a latent frame never sees what follows, and a video is a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from dit_video.errors import ShapeError
from dit_video.models.vae import VAE
from dit_video.seeds import generator


def lively(dtype: torch.dtype = torch.float32, **changes: object) -> VAE:
    """A tiny VAE whose convolutions are not silent."""
    about = {"channels": 4, "widths": [8, 8], "blocks": [1, 2], "time": [2, 2], "space": [2, 2]} | changes
    vae = VAE(**about).eval()  # type: ignore[arg-type]
    source = generator(0, "lively")
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=source))
        vae.mean.copy_(torch.randn(4, generator=source))
        vae.std.copy_(torch.rand(4, generator=source) + 0.5)
    return vae.to(dtype)


STAGES: list[dict[str, object]] = [
    {"time": [2, 2], "space": [2, 2]},
    {"time": [1, 2], "space": [4, 1], "decoder_blocks": [0, 3]},
    {"time": [4, 1], "space": [1, 2], "band": (2, 1)},
    {"time": [2, 2, 2], "space": [4, 2, 2], "widths": [8, 8, 8], "blocks": [1, 1, 1], "band": (4, 6)},
]
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.1}


@pytest.mark.parametrize("stages", STAGES)
def test_shapes_are_those_of_the_compression(stages: dict[str, object]) -> None:
    vae = lively(**stages)
    time, space = vae.compression.time, vae.compression.space
    video = torch.randn(2, 3, 1 + 2 * time, 2 * space, 3 * space)
    latent = vae.encode(video)
    assert latent.shape == (2, 4, 3, 2, 3)
    assert vae.decode(latent).shape == video.shape


@pytest.mark.parametrize("stages", STAGES)
def test_no_frame_sees_the_ones_after_it(stages: dict[str, object]) -> None:
    vae = lively(**stages)
    time, space = vae.compression.time, vae.compression.space
    video = torch.randn(1, 3, 1 + 3 * time, space, space, requires_grad=True)
    latent = torch.randn(1, 4, 4, 1, 1, requires_grad=True)
    for frame in range(4):
        (seen,) = torch.autograd.grad(vae.posterior(video).mean[:, :, frame].sum(), video)
        by_frame = seen.abs().sum(dim=(0, 1, 3, 4))
        assert not by_frame[1 + frame * time :].any()
        assert by_frame[frame * time].any()
        (seen,) = torch.autograd.grad(vae.decode(latent)[:, :, : 1 + frame * time].sum(), latent)
        by_frame = seen.abs().sum(dim=(0, 1, 3, 4))
        assert not by_frame[frame + 1 :].any()
        assert by_frame[frame].any()


def near(made: Tensor, whole: Tensor) -> None:
    """Equal, to what the type of numbers allows."""
    limit = TOLERANCES[whole.dtype]
    assert_close(made, whole, atol=limit * float(whole.abs().max()), rtol=limit)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("stages", STAGES)
def test_a_stream_is_the_whole_however_it_is_cut(stages: dict[str, object], dtype: torch.dtype) -> None:
    vae = lively(dtype, **stages)
    time, space = vae.compression.time, vae.compression.space
    video = torch.randn(2, 3, 1 + 4 * time, 2 * space, space).to(dtype)
    with torch.no_grad():
        latent = vae.encode(video)
        whole = vae.decode(latent)
        for chunks in ([5], [1] * 5, [1, 4], [2, 2, 1]):
            near(torch.cat(list(vae.stream_decode(latent.split(chunks, dim=2))), dim=2), whole)
        for frames in ([1] * (1 + 4 * time), [1 + 4 * time], [2, 4 * time - 1], [time, 2 * time, 1 + time]):
            near(torch.cat(list(vae.stream_encode(video.split(frames, dim=2))), dim=2), latent)


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 9), max_size=6), tile=st.sampled_from([None, 9, 16]))
def test_a_stream_is_the_whole_for_any_chunks_and_tiles(cuts: list[int], tile: int | None) -> None:
    vae, video = lively(), torch.randn(1, 3, 9, 16, 24, generator=generator(0, "video"))
    edges = [0, *sorted(cuts), 9]
    chunks = [video[:, :, start:stop] for start, stop in pairwise(edges)]
    with torch.no_grad():
        whole = vae.encode(video)
        latents = list(vae.stream_encode(chunks, tile=tile))
        near(torch.cat(latents, dim=2), whole)
        near(torch.cat(list(vae.stream_decode(latents, tile=tile)), dim=2), vae.decode(whole))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stages", STAGES)
def test_tiles_are_the_whole(stages: dict[str, object], dtype: torch.dtype) -> None:
    vae = lively(dtype, **stages)
    time, space = vae.compression.time, vae.compression.space
    video = torch.randn(1, 3, 1 + time, 5 * space, 7 * space, dtype=dtype)
    with torch.no_grad():
        latent = vae.encode(video)
        whole = vae.decode(latent)
        for tile in (2 * space + 1, 5 * space):
            near(vae.encode(video, tile=tile), latent)
            near(vae.decode(latent, tile=tile), whole)


def test_a_stream_that_ends_between_latent_frames_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"1 \+ k\*4.*ends 2 after"):
        list(lively().stream_encode([torch.randn(1, 3, 5, 4, 4), torch.randn(1, 3, 2, 4, 4)]))


def test_what_a_stream_remembers_does_not_grow() -> None:
    vae, latent = lively(), torch.randn(1, 4, 12, 2, 2)
    passage = vae._decoding(None, streams=True)
    held = []
    for chunk in latent.split([1, 1, 8, 2], dim=2):
        passage(chunk)
        (memory,) = passage.memories.values()
        held.append(sum(kept.untyped_storage().nbytes() for kept in memory.values()))
    assert len(set(held)) == 1


def test_an_image_is_a_first_frame_alone() -> None:
    vae = lively()
    video = torch.randn(2, 3, 9, 8, 12)
    with torch.no_grad():
        latent = vae.encode(video)
        assert_close(vae.encode(video[:, :, :1]), latent[:, :, :1])
        assert_close(vae.decode(latent[:, :, :1]), vae.decode(latent)[:, :, :1])


@pytest.mark.parametrize("equalise", [0.0, 0.5, 1.0])
def test_normalising_goes_there_and_back(equalise: float) -> None:
    vae = lively(equalise=equalise)
    latent = torch.randn(2, 4, 3, 2, 2)
    assert_close(vae.denormalise(vae.normalise(latent)), latent)
    assert_close(vae.normalise(vae.denormalise(latent)), latent)


def test_equalising_is_by_channel_or_by_one_scale() -> None:
    raw = torch.randn(4, 4, 50, 8, 8) * torch.tensor([0.1, 1.0, 2.0, 5.0])[:, None, None, None] + 3
    for equalise, even in ((1.0, True), (0.0, False)):
        vae = lively(equalise=equalise)
        vae.mean.copy_(raw.mean(dim=(0, 2, 3, 4)))
        vae.std.copy_(raw.std(dim=(0, 2, 3, 4)))
        made = vae.normalise(raw)
        assert_close(made.mean(dim=(0, 2, 3, 4)), torch.zeros(4), atol=1e-4, rtol=0)
        assert_close(made.square().mean().sqrt(), torch.tensor(1.0), atol=0.01, rtol=0)
        ratio = made.std(dim=(0, 2, 3, 4))[3] / made.std(dim=(0, 2, 3, 4))[0]
        assert_close(ratio, torch.tensor(1.0 if even else 50.0), rtol=0.05, atol=0)


def test_the_posterior_is_the_gaussian_it_says() -> None:
    posterior = lively(logvar=-3.0).posterior(torch.randn(1, 3, 5, 8, 8))
    normal = torch.distributions.Normal(posterior.mean, torch.exp(0.5 * posterior.logvar))
    unit = torch.distributions.Normal(torch.zeros_like(posterior.mean), torch.ones_like(posterior.mean))
    assert_close(posterior.kl(), torch.distributions.kl_divergence(normal, unit))
    noise = torch.randn_like(posterior.mean)
    assert_close((posterior.sample(noise) - posterior.mean) / normal.stddev, noise, atol=1e-4, rtol=1e-4)


def test_the_forward_pass_is_decoding_a_sample() -> None:
    vae, video, noise = lively(), torch.randn(1, 3, 5, 8, 8), torch.randn(1, 4, 2, 2, 2)
    made, posterior = vae(video, noise)
    assert_close(made, vae.decode(vae.normalise(posterior.sample(noise))), atol=1e-5, rtol=1e-5)
    assert len(list(vae.blocks())) == 6


@pytest.mark.parametrize("frames", [1, 5])
def test_every_parameter_has_a_gradient_whatever_the_batch(frames: int) -> None:
    """Ranks with images and ranks with videos exchange the same gradients."""
    vae = lively()
    video = torch.randn(2, 3, frames, 8, 8)
    made, _ = vae(video, torch.randn(vae.latent_shape(video)))
    made.square().sum().backward()
    assert [name for name, parameter in vae.named_parameters() if parameter.grad is None] == []
