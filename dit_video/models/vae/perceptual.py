"""Distances of videos by what pretrained networks see, frame by frame: terms of a VAE's loss, (b,) each.

- The networks are no part of a run: they are not trained, sharded or saved, and lie where they are first used.
- Nothing is fetched for DINO: the user names a folder. LPIPS is torchmetrics', whose backbone is torchvision's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from einops import rearrange
from torch.nn import functional

from dit_video.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as DINO's were trained


class Perceptual:
    """A distance of frames, weighted, on every `every`th frame from one that torch's generator draws."""

    def __init__(self, *, weight: float, every: int) -> None:
        if weight < 0 or every < 1:
            raise ConfigError(f"tasks.loss.perceptual needs weight >= 0 and every >= 1, got {weight:g} and {every}")
        self.weight, self.every = weight, every
        self.net: nn.Module | None = None

    def open(self) -> nn.Module:
        """The network."""
        raise NotImplementedError

    def distance(self, net: Callable[..., Any], frames: Tensor, targets: Tensor) -> Tensor:
        """Distances (n,) of frames (n, 3, h, w) in [-1, 1]."""
        raise NotImplementedError

    def __call__(self, video: Tensor, target: Tensor) -> Tensor:
        """Weighted distances (b,) of videos (b, 3, t, h, w) in [-1, 1]."""
        if video.is_meta:
            return torch.zeros(len(video), device=video.device)
        if self.net is None:
            self.net = self.open().eval().requires_grad_(requires_grad=False).to(video.device)
        first = int(torch.randint(min(self.every, video.shape[2]), ()))
        frames, targets = (rearrange(x[:, :, first :: self.every], "b c t h w -> (b t) c h w") for x in (video, target))
        found = self.distance(self.net, frames, targets)
        return self.weight * rearrange(found, "(b t) -> b t", b=len(video)).mean(dim=1)


class Lpips(Perceptual):
    """LPIPS (Zhang et al. 2018) by torchmetrics.

    Args:
        weight: of the distance.
        net: the backbone; its weights are those in torch's cache (TORCH_HOME), or fetched into it.
        every: frames of which one is looked at.
    """

    def __init__(self, *, weight: float = 1.0, net: Literal["vgg", "alex", "squeeze"] = "vgg", every: int = 1) -> None:
        super().__init__(weight=weight, every=every)
        self.name = net

    def open(self) -> nn.Module:
        """The network; ConfigError where torchvision, or its weights, are not there."""
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        try:
            found: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type=self.name).net
        except (ModuleNotFoundError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"LPIPS cannot be made: {reason} Set tasks.loss.perceptual=null; tasks.loss.spectrum needs nothing"
            ) from error
        return found

    def distance(self, net: Callable[..., Any], frames: Tensor, targets: Tensor) -> Tensor:
        """LPIPS of each frame."""
        return net(frames, targets).flatten()  # type: ignore[no-any-return]


class Dino(Perceptual):
    """One minus the cosine of the features of patches, over some layers (DINOv2, Oquab et al. 2023, or alike).

    Args:
        path: folder of a vision transformer that transformers can read.
        weight: of the distance.
        layers: whose outputs are compared, from the first (1) to the last; negative ones from the end.
        every: frames of which one is looked at.
    """

    def __init__(self, *, path: str, weight: float = 1.0, layers: Sequence[int] = (-1,), every: int = 1) -> None:
        super().__init__(weight=weight, every=every)
        self.path, self.layers = path, tuple(layers)

    def open(self) -> nn.Module:
        """The network; ConfigError where the folder has none."""
        try:
            from transformers import AutoModel

            found: nn.Module = AutoModel.from_pretrained(self.path, local_files_only=True)
        except (ImportError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"tasks.loss.perceptual.path={self.path} cannot be read: {reason}") from error
        self.patch = int(found.config.patch_size)
        return found

    def distance(self, net: Callable[..., Any], frames: Tensor, targets: Tensor) -> Tensor:
        """The mean over patches and layers; frames are enlarged to whole patches."""
        found = [self.features(net, images) for images in (frames, targets)]
        cosines = [functional.cosine_similarity(*pair, dim=2).mean(dim=1) for pair in zip(*found, strict=True)]
        return 1 - torch.stack(cosines).mean(dim=0)

    def features(self, net: Callable[..., Any], frames: Tensor) -> list[Tensor]:
        """Tokens (n, k, d) of each layer."""
        size = [-(-side // self.patch) * self.patch for side in frames.shape[-2:]]
        mean, std = (torch.tensor(values, device=frames.device)[:, None, None] for values in (MEAN, STD))
        images = functional.interpolate(frames.float(), size=size, mode="bilinear", antialias=True)
        states = net((images / 2 + 0.5 - mean) / std, output_hidden_states=True).hidden_states
        return [states[layer] for layer in self.layers]
