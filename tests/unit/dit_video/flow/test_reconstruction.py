"""Terms of the VAE's loss, and running statistics that arrive."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from dit_video.errors import ConfigError
from dit_video.flow.reconstruction import Reconstruction, moments, track


def test_terms_are_what_they_are_called() -> None:
    target = torch.randn(2, 3, 5, 8, 8)
    kl = torch.rand(2, 4, 2, 1, 1)
    terms = Reconstruction(charbonnier=1.0, mse=2.0, gradient=3.0, kl=4.0)(target + 0.5, target, kl)
    assert_close(terms.mse, torch.full((2,), 0.25))
    assert_close(terms.charbonnier, torch.full((2,), (0.25 + 1e-4) ** 0.5))
    assert_close(terms.gradient, torch.zeros(2), atol=1e-6, rtol=0)
    assert_close(terms.kl, kl.flatten(1).mean(1))
    whole = terms.charbonnier + 2 * terms.mse + 3 * terms.gradient + 4 * terms.kl
    assert_close(terms.loss, whole)
    assert_close(terms.motion, torch.zeros(2), atol=1e-6, rtol=0)


def test_the_gradient_term_sees_edges() -> None:
    target = torch.zeros(1, 3, 1, 4, 4)
    ramp = torch.arange(4.0).expand(1, 3, 1, 4, 4)
    terms = Reconstruction()(ramp, target, torch.zeros(1, 1, 1))
    assert_close(terms.gradient, torch.ones(1))


def test_the_motion_term_sees_a_movement_that_stands_still() -> None:
    target = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 3, 4, 2, 2)
    terms = Reconstruction(motion=2.0)
    moves = terms(target + 5, target, torch.zeros(1, 1, 1))
    stands = terms(target.mean(dim=2, keepdim=True).expand_as(target), target, torch.zeros(1, 1, 1))
    assert_close(moves.motion, torch.zeros(1))
    assert_close(stands.motion, torch.ones(1))


def test_without_epsilon_it_is_l1_and_its_gradient_is_finite() -> None:
    video, target = torch.randn(2, 1, 3, 2, 4, 4).unbind(0)
    terms = Reconstruction(epsilon=0.0)
    assert_close(terms(video, target, torch.zeros(1, 1, 1)).charbonnier, (video - target).abs().flatten(1).mean(1))
    same = target.clone().requires_grad_()
    terms(same, target, torch.zeros(1, 1, 1)).loss.sum().backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_free_bits_are_free_and_no_more() -> None:
    bit = math.log(2)
    kl = torch.stack([torch.full((2, 4), 0.1 * bit), torch.full((2, 4), 3 * bit)])[None].requires_grad_()
    terms = Reconstruction(kl=1.0, free=1.0)(torch.zeros(1, 3, 1, 4, 4), torch.zeros(1, 3, 1, 4, 4), kl)
    assert_close(terms.kl, torch.tensor([(1 + 3) / 2 * bit]))
    terms.kl.sum().backward()
    assert kl.grad is not None
    assert not kl.grad[0, 0].any()
    assert kl.grad[0, 1].all()


def test_what_is_not_asked_for_is_not_computed() -> None:
    video, target, kl = torch.rand(2, 3, 1, 16, 16), torch.rand(2, 3, 1, 16, 16), torch.zeros(2, 1, 1)
    plain = Reconstruction()(video, target, kl)
    assert {"spectrum", "perceptual"}.isdisjoint(plain.known())
    seen = Reconstruction(spectrum=0.5, perceptual=lambda one, other: (one - other).flatten(1).mean(1))
    terms = seen(video, target, kl)
    assert terms.spectrum is not None
    assert terms.perceptual is not None
    assert_close(terms.loss, plain.loss + 0.5 * terms.spectrum + terms.perceptual)


@pytest.mark.parametrize("settings", [{"epsilon": -1.0}, {"scales": 0}, {"free": -1.0}])
def test_what_has_no_meaning_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Reconstruction(**settings)  # type: ignore[arg-type]


def test_clips_do_not_mix() -> None:
    video, target = torch.randn(2, 3, 3, 1, 4, 4).unbind(0)
    kl = torch.rand(3, 2, 4)
    whole = Reconstruction(gradient=1.0)(video, target, kl)
    for clip in range(3):
        alone = Reconstruction(gradient=1.0)(video[clip : clip + 1], target[clip : clip + 1], kl[clip : clip + 1])
        assert_close(alone.loss[0], whole.loss[clip])


def test_statistics_arrive_at_those_of_the_latents() -> None:
    mean, std = torch.zeros(3), torch.ones(3)
    torch.manual_seed(0)
    for _ in range(300):
        latent = torch.randn(4, 3, 2, 16, 16) * torch.tensor([0.5, 1.0, 4.0])[:, None, None, None]
        track(mean, std, moments(latent + torch.tensor([1.0, -2.0, 0.0])[:, None, None, None]), rate=0.05)
    assert_close(mean, torch.tensor([1.0, -2.0, 0.0]), atol=0.1, rtol=0)
    assert_close(std, torch.tensor([0.5, 1.0, 4.0]), rtol=0.05, atol=0)


def test_a_batch_of_few_positions_counts_less() -> None:
    few, many = torch.zeros(1), torch.zeros(1)
    track(few, torch.ones(1), moments(torch.ones(1, 1, 1, 8, 8)))
    track(many, torch.ones(1), moments(torch.ones(1, 1, 2, 32, 32)))
    assert_close(many / few, torch.tensor([2048 / 64]))
