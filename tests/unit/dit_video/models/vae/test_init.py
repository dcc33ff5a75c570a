"""Principal components: with all of them kept nothing is lost; with some, no linear way is better."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.models.vae import VAE
from dit_video.models.vae.init import measure, principal


def tiny(channels: int, *, time: int = 1, band: tuple[int, int] | None = None) -> VAE:
    return VAE(channels=channels, widths=[8, 8], blocks=[1, 1], time=[time, 1], space=[1, 2], band=band)


def smooth(*shape: int) -> Tensor:
    """Videos in [-1, 1] whose neighbours resemble each other."""
    torch.manual_seed(0)
    return (torch.randn(shape).cumsum(-1).cumsum(-2).cumsum(-3) / 20).tanh()


def reconstructed(vae: VAE, video: Tensor) -> Tensor:
    with torch.no_grad():
        return vae.decode(vae.encode(video))


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
def test_all_components_lose_nothing(whitening: float) -> None:
    vae = tiny(channels=12)  # as many as a block of 2 x 2 pixels has numbers
    videos = [smooth(8, 3, 5, 8, 8), smooth(4, 3, 3, 4, 12)]
    principal(vae, videos, whitening=whitening)
    measure(vae, videos)
    for video in videos:
        assert_close(reconstructed(vae, video), video, atol=1e-4, rtol=0)


def test_some_components_lose_what_the_others_hold() -> None:
    vae, video = tiny(channels=5, time=2), smooth(16, 3, 5, 8, 8)
    principal(vae, [video])
    rows = video[:, :, 1:].unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2).permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4)
    values = torch.linalg.eigvalsh(torch.cov(rows.flatten(0, 3).T.double()))
    error = (reconstructed(vae, video) - video)[:, :, 1:].square().mean() * rows.shape[-1]
    assert_close(error.double(), values[:-5].sum(), rtol=0.01, atol=0)
    assert values[:-5].sum() < 0.3 * values.sum()


def test_components_of_low_frequencies_are_those_of_the_smooth_video() -> None:
    """With as many channels as the band has numbers, what is lost is what the band leaves out."""
    vae, video = tiny(channels=3, band=(1, 1)), smooth(8, 3, 5, 8, 8)
    principal(vae, [video])
    first, rest = vae.encoder.linear.bands
    smoothed = torch.cat(
        [part.synthesise(part.analyse(v)) for part, v in ((first, video[:, :, :1]), (rest, video[:, :, 1:]))], dim=2
    )
    assert_close(reconstructed(vae, video), smoothed, atol=1e-4, rtol=0)


def test_whitening_evens_the_channels_out() -> None:
    video = smooth(16, 3, 5, 8, 8)
    spread = []
    for whitening in (0.0, 0.5, 1.0):
        vae = tiny(channels=4)
        principal(vae, [video], whitening=whitening)
        std = vae.posterior(video).mean.detach()[:, :, 1:].transpose(0, 1).flatten(1).std(dim=1)
        spread.append(float(std[0] / std[-1]))
    assert_close(spread[2], 1.0, rtol=0.01, atol=0)
    assert_close(spread[1], spread[0] ** 0.5, rtol=0.05, atol=0)


def test_measured_statistics_normalise() -> None:
    vae, video = tiny(channels=4), smooth(16, 3, 5, 8, 8)
    principal(vae, [video])
    measure(vae, [video])
    flat = vae.encode(video).detach().transpose(0, 1).flatten(1)
    assert_close(flat.mean(dim=1), torch.zeros(4), atol=1e-4, rtol=0)
    assert_close(flat.std(dim=1), torch.ones(4), atol=1e-3, rtol=0)


def test_it_starts_as_its_linear_way_transposed() -> None:
    vae, video = tiny(channels=4), smooth(1, 3, 5, 8, 8)
    with torch.no_grad():
        assert_close(vae.encoder(video), vae.encoder.linear(video).movedim(-1, 1))
    for inward, outward in ((vae.encoder.linear.first, vae.decoder.linear.first),):
        assert_close(inward.weight @ outward.weight, torch.eye(4), atol=1e-5, rtol=0)
    assert all(p.no_decay and not p.matrix for p in vae.parameters())
    linear = {id(p) for way in (vae.encoder.linear, vae.decoder.linear) for p in way.parameters()}
    assert {id(p) for p in vae.parameters() if getattr(p, "rate", 1.0) == 0.1} == linear
