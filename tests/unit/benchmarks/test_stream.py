"""The stream of a benchmark, small: as many frames as asked, each made of no more latents than it needs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.testing import assert_close

from benchmarks.stream import forth_and_back, shown, stream
from dit_video.media.read import read
from dit_video.media.write import write
from dit_video.models.vae import VAE
from dit_video.models.vae.init import measure, principal

SIZES = {"channels": 16, "widths": [8, 8], "blocks": [1, 1], "time": [4, 2], "space": [8, 4], "band": (2, 4)}


def made(video: Tensor) -> VAE:
    vae = VAE(**SIZES).eval()  # type: ignore[arg-type]
    principal(vae, [video])
    measure(vae, [video])
    return vae


def test_a_clip_comes_back_as_long_as_asked(tmp_path: Path) -> None:
    across = np.linspace(0, 255, 96).astype(np.uint8)
    image = np.broadcast_to(across[None, :, None], (72, 96, 3))
    write(tmp_path / "clip.mp4", [image] * 17, fps=24.0)
    figures = stream(tmp_path / "clip.mp4", count=44, size=(72, 96), out=tmp_path, make=made)
    video = read(tmp_path / "stream.mp4").frames
    assert video.shape == (44, 72, 96, 3)
    assert figures["frames"] == 44
    assert figures["peak MB"] >= figures["median MB"] > 0
    assert np.abs(video.astype(float) - image).mean() < 4  # a still ramp is a principal component
    assert "Resident memory" in (tmp_path / "memory.html").read_text(encoding="utf-8")


def test_no_latent_is_decoded_before_it_is_needed() -> None:
    vae, taken = made(torch.rand(1, 3, 9, 64, 64)), 0

    def counted() -> Iterator[Tensor]:
        nonlocal taken
        for latent in forth_and_back(torch.randn(1, 16, 3, 2, 2)):
            taken += 1
            yield latent

    with torch.no_grad():
        frames = shown(vae.stream_decode(counted()), (60, 64))
        for count in range(1, 30):
            assert next(frames).shape == (60, 64, 3)
            assert taken == 1 + -(-(count - 1) // 8)


def test_forth_and_back_has_no_leap() -> None:
    order = torch.cat(list(islice(forth_and_back(torch.arange(4)[None, None, :, None, None]), 12)), dim=2).flatten()
    assert_close(order, torch.tensor([0, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3]))
