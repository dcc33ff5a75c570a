"""Attention as calls of SDPA: on every device, in every precision."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def segmented(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """Runs of neighbouring segments of equal lengths, each as one batched call on views; as `Attention`.

    Sort clips by length, and a pack of two or three sizes costs two or three calls. (On the CPU flex attention has no
    backward, and varlen no kernel.)
    """
    runs = [(pair, len(list(run))) for pair, run in groupby(zip(q_lengths, k_lengths, strict=True))]
    queries = q.split([n * count for (n, _), count in runs])
    keys = k.split([m * count for (_, m), count in runs])
    values = v.split([m * count for (_, m), count in runs])
    outputs = []
    for (_, count), *qkv in zip(runs, queries, keys, values, strict=True):
        batched = (rearrange(x, "(g n) h e -> g h n e", g=count) for x in qkv)
        outputs.append(rearrange(scaled_dot_product_attention(*batched), "g h n e -> (g n) h e"))
    return torch.cat(outputs) if len(outputs) > 1 else outputs[0]
