"""Channels and spectra of latents that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dit_video.evaluation.latents import Channels, Spectrum
from dit_video.models.vae import Posterior


def test_channels_are_known_by_their_variance_noise_and_kl() -> None:
    torch.manual_seed(0)
    mean = torch.randn(1, 3, 8, 16, 16) * torch.tensor([2.0, 1.0, 0.0])[None, :, None, None, None] + 0.5
    logvar = torch.full_like(mean, math.log(0.25))
    channels = Channels()
    for part in (mean[:, :, :3], mean[:, :, 3:]):
        channels.add(Posterior(part, logvar[:, :, : part.shape[2]]))
    found = channels.figures()
    assert found["variance"] == pytest.approx([4.0, 1.0, 0.0], abs=0.3)
    assert found["noise"] == pytest.approx([0.25] * 3)
    assert found["carried"] == pytest.approx([4 / 4.25, 1 / 1.25, 0.0], abs=0.03)
    assert found["dead"] == [2]
    assert found["mean"] == pytest.approx([0.5] * 3, abs=0.1)
    assert found["kl"] == pytest.approx(Posterior(mean, logvar).kl().mean((0, 2, 3, 4)).tolist(), rel=1e-6)


def test_a_point_carries_all_it_has() -> None:
    channels = Channels()
    channels.add(Posterior(torch.randn(1, 2, 2, 4, 4), torch.full((1, 2, 2, 4, 4), -torch.inf)))
    found = channels.figures()
    assert found["carried"] == [1.0, 1.0]
    assert found["kl"] == [math.inf, math.inf]
    assert found["dead"] == []


def test_white_noise_is_flat_at_one_whatever_the_size() -> None:
    spectrum = Spectrum()
    torch.manual_seed(0)
    for size in ((16, 16), (24, 40)):
        spectrum.add(torch.randn(1, 4, 30, *size))
    frequency, power = np.array(spectrum.figures()).T
    assert power == pytest.approx(np.ones(len(power)), rel=0.15)
    assert (np.diff(frequency) > 0).all()
    assert frequency[-1] < 0.5


def test_a_wave_stands_at_its_frequency() -> None:
    spectrum = Spectrum()
    wave = torch.cos(2 * math.pi * 0.25 * torch.arange(32))
    spectrum.add(wave.expand(1, 1, 1, 32, 32))
    frequency, power = max(spectrum.figures(), key=lambda ring: ring[1])
    assert frequency == pytest.approx(0.25, abs=1 / 32)
    assert power > 1
    assert sum(p > 1e-9 for _, p in spectrum.figures()) == 1


def test_latents_too_small_for_a_spectrum_have_none() -> None:
    spectrum = Spectrum()
    spectrum.add(torch.randn(1, 4, 2, 3, 8))
    assert spectrum.figures() == []
