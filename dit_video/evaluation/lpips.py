"""LPIPS (Zhang et al. 2018) with AlexNet: weights of the network from a file, those of its heads from torchmetrics.

torchmetrics' own needs torchvision, whose wheels break a CPU torch; the network is five convolutions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from dit_video.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]
LEAST = 35  # pixels a side; of smaller pictures nothing would be left
CONVOLUTIONS = {0: (3, 64, 11, 4, 2), 3: (64, 192, 5, 1, 2), 6: (192, 384, 3, 1, 1)}
CONVOLUTIONS |= {8: (384, 256, 3, 1, 1), 10: (256, 256, 3, 1, 1)}  # place in torchvision's `features`: sizes


class LPIPS(nn.Module):
    """The distance of two pictures as AlexNet sees them."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {
                str(place): nn.Conv2d(inside, outside, side, stride=stride, padding=padding)
                for place, (inside, outside, side, stride, padding) in CONVOLUTIONS.items()
            }
        )
        self.heads = nn.ParameterList(torch.zeros(sizes[1]) for sizes in CONVOLUTIONS.values())
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def activations(self, pictures: Tensor) -> list[Tensor]:
        """After each convolution, of pictures (b, 3, h, w) in [-1, 1], at unit length over channels."""
        x, found = (pictures - self.shift) / self.scale, []
        for place, conv in self.features.items():
            if place in {"3", "6"}:
                x = nn.functional.max_pool2d(x, 3, 2)
            x = torch.relu(conv(x))
            found.append(x / torch.sqrt(1e-8 + x.square().sum(1, keepdim=True)))
        return found

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (b,) of pictures (b, 3, h, w) in [-1, 1]."""
        total = first.new_zeros(len(first))
        for a, b, head in zip(self.activations(first), self.activations(second), self.heads, strict=True):
            total = total + ((a - b).square() * head[:, None, None]).sum(1).mean((-2, -1))
        return total

    @torch.inference_mode()
    def of_frames(self, frame: NDArray[np.uint8], copy: NDArray[np.uint8]) -> float | None:
        """The distance of two frames (h, w, 3); None of frames that are too small."""
        if min(frame.shape[:2]) < LEAST:
            return None
        pair = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1 for image in (frame, copy)]
        return float(self(*(image.to(self.shift.device) for image in pair)))


def load(path: str) -> LPIPS:
    """LPIPS with AlexNet's weights of a file (.safetensors, or torchvision's .pth); CheckpointError without them."""
    import torchmetrics.functional.image as package

    heads_file = Path(str(package.__file__)).parent / "lpips_models" / "alex.pth"
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            given = load_file(path)
        else:
            given = torch.load(path, map_location="cpu", weights_only=True)
        heads = torch.load(heads_file, map_location="cpu", weights_only=True)
        weights = {
            f"features.{place}.{part}": given[f"features.{place}.{part}"]
            for place in CONVOLUTIONS
            for part in ("weight", "bias")
        }
        weights |= {f"heads.{n}": heads[f"lin{n}.model.1.weight"].flatten() for n in range(len(CONVOLUTIONS))}
        made = LPIPS()
        made.load_state_dict(weights, strict=False)
    except Exception as error:  # a file of weights may be anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise CheckpointError(f"lpips={path} is no AlexNet of torchvision: {reason[:200]}") from error
    return made.eval().requires_grad_(requires_grad=False)
