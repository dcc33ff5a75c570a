"""Initial values, written in place (so a model may be built on `meta`, materialised and then initialised)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from dit_video.models.recaptioner.block import Attention, Resampler

if TYPE_CHECKING:
    import torch

    from dit_video.models.recaptioner.recaptioner import Recaptioner


def initialise(model: Recaptioner, *, generator: torch.Generator | None = None) -> None:
    """Fan-in normal weights; branches along the text and video streams are scaled by 1/sqrt(their number).

    What carries the video into the text (resampler, cross attention) is not scaled down: it must be heard early.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            gain = 2.0 if isinstance(module, nn.Conv2d) else 1.0  # a GELU follows
            nn.init.normal_(module.weight, std=(gain / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
            nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5, generator=generator)
        elif isinstance(module, Resampler):
            nn.init.normal_(module.slots, std=0.1, generator=generator)
    branches = [
        part for block in model.blocks() for name, part in block.named_children() if name in {"attention", "mlp"}
    ]
    for branch in branches:
        last = branch.out if isinstance(branch, Attention) else branch.down
        last.weight.data.mul_(1 / math.sqrt(len(branches)))
    nn.init.zeros_(model.vocabulary)
