"""Amplitudes are blind to where and see what is missing; edges are seen at every size."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d
from torch.testing import assert_close

from dit_video.flow.spectrum import edges, spectrum


def noise(*shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape)


def test_equal_videos_differ_by_nothing_and_clips_do_not_mix() -> None:
    video, target = noise(2, 3, 3, 2, 32, 32).unbind(0)
    assert_close(spectrum(video, video), torch.zeros(3))
    whole = spectrum(video, target)
    for clip in range(3):
        assert_close(spectrum(video[clip : clip + 1], target[clip : clip + 1])[0], whole[clip])


def test_a_texture_elsewhere_is_better_than_none() -> None:
    target = 0.3 * noise(1, 3, 1, 64, 64)
    moved, left_out = target.roll(3, dims=-1), torch.zeros_like(target)
    assert (moved - target).square().mean() > (left_out - target).square().mean()  # as squared errors have it
    assert spectrum(moved, target) < 0.5 * spectrum(left_out, target)


def test_blur_costs_the_more_the_wider_it_is() -> None:
    target = 0.3 * noise(1, 3, 1, 64, 64)

    def blurred(size: int) -> torch.Tensor:
        return avg_pool2d(target[:, :, 0], size, stride=1, padding=size // 2)[:, :, None]

    assert spectrum(blurred(3), target) < spectrum(blurred(5), target)


def test_what_is_smaller_than_a_window_counts_nothing() -> None:
    assert spectrum(torch.ones(2, 3, 1, 4, 4), torch.zeros(2, 3, 1, 4, 4)).tolist() == [0, 0]


def test_its_gradient_is_finite_where_both_are_flat() -> None:
    video = torch.zeros(1, 3, 1, 16, 16, requires_grad=True)
    spectrum(video, torch.zeros(1, 3, 1, 16, 16)).sum().backward()
    assert video.grad is not None
    assert torch.isfinite(video.grad).all()


def test_a_ramp_has_the_edges_of_its_slope_at_every_size() -> None:
    ramp = torch.arange(16.0).expand(2, 3, 4, 16, 16)
    assert_close(edges(ramp), torch.ones(2))
    assert_close(edges(ramp, scales=3), torch.full((2,), (1 + 2 + 4) / 3))
    assert_close(edges(torch.ones(1, 3, 1, 1, 1), scales=2), torch.zeros(1))
