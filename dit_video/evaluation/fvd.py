"""Fréchet video distance (Unterthiner et al. 2018) of videos and their copies, by a network that lies on this machine.

- `fvd=FILE.pt`: a TorchScript that takes videos (b, 3, t, h, w) in 0 to 255 and the arguments rescale, resize and
  return_features, as the I3D of StyleGAN-V does. A TorchScript is a program: take it from nobody you do not trust.
- `fvd=DIR`: a VideoMAE of transformers (safetensors alone); its features are the mean of its tokens.
- A clip counts with its first `FRAMES` frames; shorter ones are left out. The distance falls with the number of clips,
  so only those of the same clips may be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange

from dit_video.errors import CheckpointError
from dit_video.media.fit import cover

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Frame = NDArray[np.uint8]

FRAMES, SIDE = 16, 224
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation
Network = Callable[["Tensor"], "Tensor"]
"""Features (b, d) of videos (b, 3, FRAMES, SIDE, SIDE) in 0 to 255."""


@dataclass
class Features:
    """Of the videos of one side, gathered frame by frame."""

    network: Network
    rows: list[NDArray[np.float64]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def add(self, frame: Frame) -> None:
        """The next frame of a clip."""
        if len(self.frames) < FRAMES:
            self.frames.append(cover(frame, SIDE, SIDE))

    @torch.inference_mode()
    def close(self) -> None:
        """The clip ends."""
        if len(self.frames) == FRAMES:
            video = rearrange(torch.from_numpy(np.stack(self.frames)), "t h w c -> 1 c t h w").float()
            self.rows.append(self.network(video)[0].double().cpu().numpy())
        self.frames = []


def distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Squared Fréchet distance of the Gaussians with the moments of rows (n, d) (Dowson & Landau 1982)."""
    apart = float(np.square(first.mean(0) - second.mean(0)).sum())
    one, other = np.cov(first, rowvar=False).reshape(first.shape[1], -1), np.cov(second, rowvar=False)
    other = other.reshape(second.shape[1], -1)
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ other @ root)
    spread = np.trace(one) + np.trace(other) - 2 * np.sqrt(np.maximum(mixed, 0)).sum()
    return max(apart + float(spread), 0.0)


def load(path: str, *, device: torch.device) -> Network:
    """The network of a file or folder; CheckpointError where it is none."""
    try:
        return of_folder(path, device) if Path(path).is_dir() else of_script(path, device)
    except Exception as error:  # a file may be anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise CheckpointError(
            f"fvd={path} is neither a TorchScript of I3D nor a folder of a VideoMAE: {reason[:200]}"
        ) from error


def of_script(path: str, device: torch.device) -> Network:
    """A TorchScript with the arguments of StyleGAN-V's I3D."""
    script: Any = torch.jit.load(path, map_location=device).eval()
    asked = {"rescale": True, "resize": True, "return_features": True}
    return lambda video: script(video.to(device), **asked)


def of_folder(path: str, device: torch.device) -> Network:
    """A VideoMAE as transformers saves it."""
    from transformers import VideoMAEModel

    model = VideoMAEModel.from_pretrained(path, local_files_only=True, use_safetensors=True).eval().to(device)
    mean, std = (
        torch.tensor((0.485, 0.456, 0.406)),
        torch.tensor((0.229, 0.224, 0.225)),
    )  # ImageNet's, as it was trained

    def features(video: Tensor) -> Tensor:
        pixels = rearrange(video / 255, "b c t h w -> b t h w c")
        pixels = rearrange((pixels - mean) / std, "b t h w c -> b t c h w").to(device)
        found: Tensor = model(pixel_values=pixels).last_hidden_state.mean(1)
        return found

    return features
