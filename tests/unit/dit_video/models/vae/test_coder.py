"""Encoder and decoder: how far they see, and that their cost is where it is coarse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dit_video.models.vae.coder import Decoder, Encoder, Stage, reach
from dit_video.shapes import Compression

STAGES = [
    [Stage(width=8, blocks=1, time=1, space=2), Stage(width=8, blocks=2, time=2, space=2)],
    [Stage(width=8, blocks=3, time=2, space=4)],
    [Stage(width=8, blocks=2, time=1, space=2), Stage(width=8, blocks=0, time=1, space=4)],
]


def compression(stages: list[Stage]) -> Compression:
    time, space = 1, 1
    for stage in stages:
        time, space = time * stage.time, space * stage.space
    return Compression(time=time, space=space, channels=4)


def lively(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module


@pytest.mark.parametrize("stages", STAGES)
def test_nothing_is_seen_beyond_the_reach(stages: list[Stage]) -> None:
    size, far = compression(stages), reach(stages)
    side = 2 * far + 3
    middle = side // 2
    encoder, decoder = lively(Encoder(size, stages, band=None)), lively(Decoder(size, stages, band=None))
    video = torch.randn(1, 3, 1, side * size.space, side * size.space, requires_grad=True)
    latent = torch.randn(1, 4, 1, side, side, requires_grad=True)
    (seen,) = torch.autograd.grad(encoder(video)[..., middle, middle].sum(), video)
    rows = seen.abs().sum(dim=(0, 1, 2, 4)).unflatten(0, (side, size.space)).sum(dim=1).nonzero().flatten()
    assert rows.min() >= middle - far
    assert rows.max() <= middle + far
    block = slice(middle * size.space, (middle + 1) * size.space)
    (seen,) = torch.autograd.grad(decoder(latent)[..., block, block].sum(), latent)
    rows = seen.abs().sum(dim=(0, 1, 2, 4)).nonzero().flatten()
    assert rows.min() == middle - far  # and it is no larger than it must be
    assert rows.max() == middle + far


def test_the_first_frame_and_chunks_are_told_apart() -> None:
    size = compression(STAGES[0])
    encoder = lively(Encoder(size, STAGES[0], band=None))
    video, memory = torch.randn(1, 3, 5, 8, 8), dict[int, torch.Tensor]()
    parts = [encoder(video[:, :, :1], memory), encoder(video[:, :, 1:], memory, starts=False)]
    torch.testing.assert_close(torch.cat(parts, dim=2), encoder(video))
