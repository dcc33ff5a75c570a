"""What enters beside the patches: features of levels that tell them apart, and of places that know the edges."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from dit_video.models.dit.embed import LevelEmbed, PlaceEmbed, fourier
from dit_video.ops.layout import conditioned, join, padding


def test_features_have_unit_length_by_pair_and_the_longest_wave_last() -> None:
    x = torch.rand(7) * 50
    waves = fourier(x, width=16, longest=100.0)
    assert waves.shape == (7, 16)
    assert_close(waves[:, :8] ** 2 + waves[:, 8:] ** 2, torch.ones(7, 8))
    assert_close(fourier(x + 100.0, width=16, longest=100.0)[:, 7], waves[:, 7], atol=1e-4, rtol=0)
    assert_close(fourier(x + 1.0, width=16, longest=100.0)[:, 0], waves[:, 0], atol=1e-4, rtol=0)


def test_levels_are_told_apart_and_near_ones_are_near() -> None:
    torch.manual_seed(0)
    signal = LevelEmbed(32)(torch.tensor([0.0, 0.5, 0.501, 1.0]))
    assert (signal[1] - signal[2]).norm() < 0.5 * (signal[1] - signal[3]).norm()
    assert (signal[0] - signal[3]).norm() > 0.1


def test_places_are_those_of_the_clip_itself() -> None:
    place = PlaceEmbed(8)
    some = [
        conditioned(torch.randn(2, 2, 4, 6), tail=None, pattern="none", cut=0, patch=1),
        conditioned(torch.randn(2, 1, 3, 3), tail=None, pattern="none", cut=0, patch=1),
        padding(5, 2),
    ]
    _, _, layout = join(some)
    together = place(layout).split(layout.lengths)
    for clip, found in zip(some, together, strict=True):
        assert_close(found, place(join([clip])[2]))
    assert torch.equal(together[0][:24], together[0][24:])  # the same in every frame
    assert not torch.allclose(together[0][0], together[0][5])
