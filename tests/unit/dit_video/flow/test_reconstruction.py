"""Terms of the VAE's loss, and running statistics that arrive."""

from __future__ import annotations

import torch
from torch.testing import assert_close

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
    terms = Reconstruction()(ramp, target, torch.zeros(1, 1))
    assert_close(terms.gradient, torch.ones(1))


def test_the_motion_term_sees_a_movement_that_stands_still() -> None:
    target = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 3, 4, 2, 2)
    terms = Reconstruction(motion=2.0)
    moves = terms(target + 5, target, torch.zeros(1, 1))
    stands = terms(target.mean(dim=2, keepdim=True).expand_as(target), target, torch.zeros(1, 1))
    assert_close(moves.motion, torch.zeros(1))
    assert_close(stands.motion, torch.ones(1))


def test_clips_do_not_mix() -> None:
    video, target = torch.randn(2, 3, 3, 1, 4, 4).unbind(0)
    kl = torch.rand(3, 2)
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
