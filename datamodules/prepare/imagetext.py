"""Pictures and texts as vectors of one space, by a CLIP-like model of `transformers`.

- A folder is read as it is, and nothing is fetched for it; only a name ORGANISATION/MODEL that is no folder goes to the
  hub. Weights are safetensors, and no code that comes with a model is run.
- Pictures are prepared here by the model's own figures: its image processors want torchvision or Pillow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from datamodules.prepare.extent import check_model
from dit_video.errors import ConfigError
from dit_video.pipeline.load import weights_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a model wants of a picture: its size, reached by cropping or by squashing, and its mean and spread."""

    height: int
    width: int
    crop: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture (h, w, 3) in the size that the model wants."""
        size = self.height, self.width
        if self.crop:
            scale = max(side / native for side, native in zip(size, image.shape[:2], strict=True))
            rows, columns = (math.floor(native * scale + 1e-6) for native in image.shape[:2])  # cut off, as CLIP's own
            size = max(rows, self.height), max(columns, self.width)
        pixels = rearrange(torch.from_numpy(np.ascontiguousarray(image)), "h w c -> 1 c h w")
        scaled = interpolate(pixels, size, mode="bicubic", antialias=True)  # of bytes: as Pillow does it
        top, left = (size[0] - self.height) // 2, (size[1] - self.width) // 2
        cut = scaled[0, :, top : top + self.height, left : left + self.width]
        return np.ascontiguousarray(rearrange(cut, "c h w -> h w c").numpy())

    def tensor(self, images: NDArray[np.uint8], device: torch.device) -> Tensor:
        """Pictures uint8 (n, h, w, 3) as float32 (n, 3, h, w), scaled as the model wants."""
        pixels = rearrange(torch.from_numpy(images).to(device), "n h w c -> n c h w").float() / 255
        mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (self.mean, self.std))
        return (pixels - mean) / std


def preparation(config: dict[str, Any], size: int) -> Preparation:
    """The preparation that a processor's configuration describes; CLIP's at `size` where it says nothing."""
    whole: Any = config.get("size") or size
    cropped = config.get("crop_size")
    squashed = isinstance(whole, dict) and "height" in whole and not config.get("do_center_crop")
    asked: Any = whole if squashed or cropped is None else cropped
    sides: dict[str, Any] = asked if isinstance(asked, dict) else {"height": asked, "width": asked}
    shortest = sides.get("shortest_edge") or size
    return Preparation(
        height=int(sides.get("height", shortest)),
        width=int(sides.get("width", shortest)),
        crop=not squashed,
        mean=tuple(config.get("image_mean") or MEAN),
        std=tuple(config.get("image_std") or STD),
    )


class ImageText:
    """A CLIP-like model at hand.

    Args:
        model: the model of transformers.
        tokens: its tokenizer.
        prepare: what it wants of a picture.
        name: the path or name that it was loaded by.
    """

    def __init__(self, model: Any, *, tokens: Callable[..., Any], prepare: Preparation, name: str) -> None:
        self.model, self.tokens, self.prepare, self.name = model.eval(), tokens, prepare, name
        self.hash = weights_hash(model)
        self.device = next(model.parameters()).device

    @property
    def scale(self) -> float:
        """What similarities are multiplied by before they are made probabilities."""
        return float(self.model.logit_scale.exp())

    def pictures(self, images: NDArray[np.uint8]) -> Tensor:
        """Unit vectors (n, d) of uint8 pictures (n, h, w, 3) of the model's size."""
        with torch.inference_mode():
            return unit(self.model.get_image_features(pixel_values=self.prepare.tensor(images, self.device)))

    def texts(self, texts: Sequence[str], *, batch: int = 256) -> Tensor:
        """Unit vectors (n, d) of texts, each as much of it as the model reads."""
        longest = int(self.model.config.text_config.max_position_embeddings)
        found = []
        with torch.inference_mode():
            for at in range(0, len(texts), batch):
                part = list(texts[at : at + batch])
                ids = self.tokens(part, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
                given = {name: ids[name].to(self.device) for name in ("input_ids", "attention_mask") if name in ids}
                found.append(unit(self.model.get_text_features(**given)))
        return torch.cat(found)


def unit(features: Any) -> Tensor:
    """Features of a model, which some versions of transformers wrap, as unit vectors on the CPU."""
    found = features if isinstance(features, Tensor) else features.pooler_output
    return normalize(found.float(), dim=-1).cpu()


def load(model: str, *, device: torch.device) -> ImageText:
    """The image-text model in a folder, or of a hub name; ConfigError where there is none."""
    check_model(model)
    local = Path(model).exists()
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import cached_file, logging
    except ImportError as error:
        raise ConfigError(
            f"scores by a model need transformers: pip install 'dit-video[pretrained]' ({error})"
        ) from error
    logging.disable_progress_bar()
    try:
        found = AutoModel.from_pretrained(model, local_files_only=local, use_safetensors=True)
        if not all(hasattr(found, name) for name in ("get_image_features", "get_text_features", "logit_scale")):
            raise ConfigError(
                f"model={model} is {type(found).__name__}; expected an image-text model as CLIP or SigLIP"
            )
        tokens = AutoTokenizer.from_pretrained(model, local_files_only=local)
        config: dict[str, Any] = {}
        for name in PROCESSORS:
            path = cached_file(model, name, local_files_only=local, _raise_exceptions_for_missing_entries=False)
            if path and not config:
                saved = json.loads(Path(path).read_text(encoding="utf-8"))
                config = saved.get("image_processor", saved)
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"model={model} cannot be loaded: {reason}") from error
    prepare = preparation(config, int(found.config.vision_config.image_size))
    return ImageText(found.to(device).requires_grad_(requires_grad=False), tokens=tokens, prepare=prepare, name=model)
