"""How far a recaptioner's words are from a caption."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dit_video.models.text.tokenizer import PAD


def caption_error(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy summed over each caption's ids and their number, both (b,).

    `logits` (b, l, vocabulary) belong to `tokens` (b, l); the first id is given and padding does not count.
    """
    wanted = tokens[:, 1:]
    errors = F.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten(), reduction="none").unflatten(
        0, wanted.shape
    )
    counted = wanted != PAD
    return (errors * counted).sum(1), counted.sum(1)
