"""The discriminator judges patches of videos and images, each by what is near it."""

from __future__ import annotations

import pytest
import torch

from dit_video.models.vae.discriminator import Discriminator
from dit_video.parallel.materialise import materialise


def small() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(widths=[4, 8], time=[1, 2])


@pytest.mark.parametrize(("frames", "rows"), [(1, 1), (5, 3), (9, 5)])
def test_a_logit_a_patch(frames: int, rows: int) -> None:
    assert small()(torch.rand(2, 3, frames, 16, 24)).shape == (2, rows, 4, 6)


def test_clips_are_judged_apart() -> None:
    judge, videos = small(), torch.rand(3, 3, 5, 8, 8)
    together = judge(videos)
    for number in range(3):
        torch.testing.assert_close(judge(videos[number : number + 1])[0], together[number])


def test_a_patch_sees_what_is_near_in_space_and_time_both_ways() -> None:
    judge, video = small(), torch.rand(1, 3, 17, 32, 32, requires_grad=True)
    logit = judge(video)[0, 4, 4, 4]
    (seen,) = torch.autograd.grad(logit, video)
    times, rows = seen[0].abs().amax(dim=(0, 2, 3)).nonzero().flatten(), seen[0].abs().amax(dim=(0, 1, 3)).nonzero()
    assert times.min() < 8 < times.max()
    assert (times.max() - times.min()) < 16
    assert 4 <= rows.max() - rows.min() < 16


def test_an_image_touches_every_parameter() -> None:
    judge = small()
    judge(torch.rand(1, 3, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in judge.parameters())


def test_logits_are_of_order_one_at_the_start() -> None:
    logits = Discriminator()(torch.rand(2, 3, 5, 32, 32) * 2 - 1)
    assert 0.05 < logits.std() < 5


def test_it_is_made_on_meta_and_given_values() -> None:
    with torch.device("meta"):
        judge = Discriminator(widths=[4], time=[1])
    materialise(judge, device=torch.device("cpu"), seed=0, purpose="init")
    assert torch.isfinite(judge(torch.rand(1, 3, 1, 4, 4))).all()
    assert not judge.squares.any()
    assert not judge.pending.any()
    assert "pending" not in judge.state_dict()
