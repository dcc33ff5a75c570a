from __future__ import annotations

import torch
from einops import rearrange

from dit_video.ops.layout import conditioned, join, padding


def test_patches_positions_and_weights() -> None:
    latent = torch.randn(3, 5, 4, 6)
    clip = conditioned(latent, tail=None, pattern="prefix", cut=2, patch=2)
    back = rearrange(clip.data, "(t h w) (c p q) -> c t (h p) (w q)", t=5, h=2, w=3, c=3, p=2)
    assert torch.equal(back, latent)
    assert clip.position[0].tolist() == [0, 0, 0]
    assert clip.position[-1].tolist() == [4, 1, 2]
    assert clip.position[7].tolist() == [1, 0, 1]
    assert clip.given.tolist() == [True, True, False, False, False]
    assert clip.lead.tolist() == [True, False, False, False, False]
    assert torch.equal(clip.weight, (clip.frame >= 2).float())


def test_a_suffix_is_the_clip_to_m_and_its_tail_from_m() -> None:
    latent, tail = torch.randn(2, 4, 2, 2), torch.randn(2, 2, 2, 2)
    clip = conditioned(latent, tail=tail, pattern="suffix", cut=2, patch=1)
    assert clip.position[::4, 0].tolist() == [0, 1, 2, 2, 3]
    assert clip.given.tolist() == [False, False, False, True, True]
    assert clip.lead.tolist() == [True, False, False, True, False]
    values = rearrange(clip.data, "(t h w) c -> c t h w", h=2, w=2)
    assert torch.equal(values, torch.cat([latent[:, :3], tail], dim=1))
    assert clip.weight.sum() == 3 * 4


def test_damaged_clips_and_padding_weigh_nothing() -> None:
    clips = [
        conditioned(torch.randn(2, 3, 2, 2), tail=None, pattern="first", cut=1, patch=1, sound=False),
        conditioned(torch.randn(2, 1, 2, 2), tail=None, pattern="none", cut=0, patch=1),
        padding(5, 2),
    ]
    data, weight, layout = join(clips)
    assert layout.lengths == (12, 4, 5)
    assert weight.tolist() == [0] * 12 + [1] * 4 + [0] * 5
    assert data.shape == (21, 2)
    assert layout.sample.tolist() == [0, 0, 0, 1, 2]
    assert layout.frame.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 5
    assert layout.given.tolist() == [True, False, False, False, True]
    assert layout.lead.tolist() == [True, False, False, True, True]
