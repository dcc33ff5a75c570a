"""Clips on disk, and autoencoders whose copies are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from datamodules.prepare.curate import curate
from dit_video.evaluation.clips import Cut, in_folder
from dit_video.evaluation.measure import Subject, measure
from dit_video.media.image import write_image
from dit_video.media.write import write
from dit_video.models.vae import Posterior
from dit_video.shapes import Compression


class Darker(nn.Module):
    """Its copies are darker by so many levels of 255, and nothing else."""

    compression = Compression(time=2, space=4, channels=3)

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("mean", torch.zeros(1))

    def posterior(self, video: Tensor) -> Posterior:
        return Posterior(video, torch.full_like(video, -2.0))

    def normalise(self, latent: Tensor) -> Tensor:
        return latent

    def stream_decode(self, latents: Iterator[Tensor]) -> Iterator[Tensor]:
        for latent in latents:
            yield latent - 2 * self.levels / 255


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two videos, and a picture; no pixel is darker than 40 of 255."""
    folder, rng = tmp_path / "source", np.random.default_rng(0)
    folder.mkdir()
    for name, frames in (("a", 5), ("b", 8)):
        coarse = rng.integers(60, 230, (frames, 3, 4, 3), dtype=np.uint8)
        coarse[:, :, :2] = coarse[0, :, :2]  # half of it stands still
        write(folder / f"{name}.mp4", coarse.repeat(8, 1).repeat(8, 2), fps=4, crf=4)
    write_image(folder / "c.png", rng.integers(60, 230, (20, 30, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def dataset(clips: Path, tmp_path: Path) -> Path:
    """A curated dataset of them."""
    curate(source=str(clips), dataset=str(tmp_path / "dataset"), workers=0)
    return tmp_path / "dataset"


@pytest.fixture
def measured(clips: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Results of VAEs that darken by so many levels, and the folder they are in."""

    def run(*levels: int, **settings: Any) -> tuple[dict[str, Any], Path]:
        subjects = [Subject(f"darker-{level}", Darker(level)) for level in levels]
        out = tmp_path / "out"
        results = measure(subjects, in_folder(clips, most=9), Cut(frames=6), out=out, **settings)
        shape = {"time": 2, "space": 4, "channels": 3}
        for row in results["vaes"]:
            row |= {"compression": shape, "values_ratio": 32.0, "parameters": 1200, "path": row["name"]}
        about = {"size": None, "fps": None, "frames": 6, "start": 0.0, "lpips": False, "fvd": False}
        return {"source": str(clips), "settings": about} | results, out

    return run
