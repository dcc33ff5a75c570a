"""A tiny raw folder, the dataset made of it, and latents of it by a stand-in for a VAE."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from datamodules.dataset import index
from datamodules.prepare.curate import curate
from datamodules.prepare.encode import Recipe, encode_with
from dit_video.media.image import write_image
from dit_video.media.write import write
from dit_video.shapes import Compression

sys.path.append(str(Path(__file__).resolve().parents[2] / "fakes"))

SIZES = ["17x32x48", "17x48x32", "9x32x32", "1x32x48", "1x48x32"]


def moving(frames: int, height: int, width: int, *, seed: int) -> np.ndarray:
    """uint8 (t, h, w, 3): a square that moves over a flat ground."""
    rng = np.random.default_rng(seed)
    video = np.empty((frames, height, width, 3), np.uint8)
    video[:] = rng.integers(0, 255, 3)
    colour, row = rng.integers(0, 255, 3), int(rng.integers(0, height - 10))
    for at in range(frames):
        left = (2 * at + seed) % (width - 10)
        video[at, row : row + 10, left : left + 10] = colour
    return video


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 videos of three sizes, 4 images, one corrupt video, one of a single frame too few, and captions for most."""
    folder = tmp_path_factory.mktemp("raw")
    rows = []
    for at in range(26):
        frames, height, width = [(17, 32, 48), (20, 48, 32), (12, 32, 32)][at % 3]
        write(folder / f"{at:02d}.mp4", moving(frames, height, width, seed=at), fps=12, preset="ultrafast")
        rows.append((f"{at:02d}.mp4", f"clip {at}"))
    (folder / "deep").mkdir()
    for at in range(4):
        write_image(folder / "deep" / f"{at}.png", moving(1, 32, 48, seed=at)[0])
        rows.append((f"deep/{at}.png", f"still {at}"))
    whole = (folder / "00.mp4").read_bytes()
    (folder / "corrupt.mp4").write_bytes(whole[: len(whole) // 3])
    (folder / "notes.txt").write_text("not media")
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "caption"), *rows])
    return folder


@pytest.fixture(scope="session")
def finished(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The curated dataset with latents/vae, to be read only."""
    folder = tmp_path_factory.mktemp("made") / "dataset"
    curate(source=str(raw), dataset=str(folder), workers=0)
    recipe = Recipe(vae="fake", buckets={"sizes": SIZES, "patch": 1}, fps=12.0, dtype="float32")
    encode_with(Pool(), index.load(folder), recipe, name="vae", batch=4, device=torch.device("cpu"), workers=0)
    return folder


@pytest.fixture(scope="session")
def mixed(finished: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """That dataset, and one of images alone of which an epoch has each sample twice; to be read only."""
    folder = tmp_path_factory.mktemp("images") / "dataset"
    curate(source=str(raw / "deep"), dataset=str(folder), workers=0)
    recipe = Recipe(vae="fake", buckets={"sizes": SIZES, "patch": 1}, fps=12.0, dtype="float32")
    encode_with(Pool(), index.load(folder), recipe, name="vae", batch=4, device=torch.device("cpu"), workers=0)
    return {str(finished): 1.0, str(folder): 2.0}


@pytest.fixture
def dataset(finished: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to be changed."""
    shutil.copytree(finished, tmp_path / "dataset")
    return tmp_path / "dataset"


class Pool(nn.Module):
    """A causal autoencoder's outline: means over 8x8 pixels, the first frame alone, then four frames at a time."""

    compression = Compression(time=4, space=8, channels=3)

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))

    def encode(self, video: Tensor) -> Tensor:
        """(b, 3, 1 + 4k, 8h, 8w) to (b, 3, 1 + k, h, w)."""
        small = nn.functional.avg_pool3d(video, (1, 8, 8)) * self.scale
        rest = [part.mean(2, keepdim=True) for part in small[:, :, 1:].split(4, dim=2)] if video.shape[2] > 1 else []
        return torch.cat([small[:, :, :1], *rest], dim=2)
