from __future__ import annotations

import pytest
import torch

from dit_video.ops.patch import patchify, unpatchify
from dit_video.shapes import LatentShape


@pytest.mark.parametrize("patch", [1, 2])
def test_round_trip(patch: int) -> None:
    shape = LatentShape(frames=3, height=4, width=6)
    latent = torch.randn(5, 3, 4, 6)
    tokens = patchify(latent, patch=patch)
    assert tokens.shape == (shape.tokens(patch), 5 * patch * patch)
    assert torch.equal(unpatchify(tokens, shape=shape, patch=patch), latent)


def test_time_is_outermost_so_frames_are_slices() -> None:
    latent = torch.randn(5, 3, 4, 6)
    tokens = patchify(latent, patch=2)
    assert torch.equal(tokens[6:12], patchify(latent[:, 1:2], patch=2))
