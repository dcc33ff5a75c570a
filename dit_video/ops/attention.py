"""Attention over a packed sequence of clips, one signature for every backend.

- Queries are cut by `q_lengths`, keys and values by `k_lengths`; segment i of one sees segment i of the other alone.
- On the CPU neighbouring segments of equal lengths run as one batched SDPA call on views: sort clips by length and a
  pack of two or three sizes costs two or three calls. (flex attention has no backward on the CPU, varlen no kernel.)
- On CUDA `torch.nn.attention.varlen.varlen_attn` takes the ragged sequence as it is. Not yet run on a device here.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import torch
from einops import rearrange
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Attention(Protocol):
    """(q, k, v, q_lengths, k_lengths) -> output; q is (n, h, e), k and v are (m, h, e), the output is like q."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
        """Attention within segments."""
        ...


def attention(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """Softmax attention within segments, by the backend that suits the device, in the precision of the values.

    Under autocast a norm gives float32: q and k, which are normed, would keep half precision from its kernel.
    """
    q, k = q.to(v.dtype), k.to(v.dtype)
    if v.is_cuda and v.dtype in (torch.bfloat16, torch.float16):
        return varlen(q, k, v, q_lengths, k_lengths)
    return segmented(q, k, v, q_lengths, k_lengths)


def segmented(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """Runs of equal segments as batched SDPA; exact on every device, differentiable."""
    runs = [(pair, len(list(run))) for pair, run in groupby(zip(q_lengths, k_lengths, strict=True))]
    queries = q.split([n * count for (n, _), count in runs])
    keys = k.split([m * count for (_, m), count in runs])
    values = v.split([m * count for (_, m), count in runs])
    outputs = []
    for (_, count), *qkv in zip(runs, queries, keys, values, strict=True):
        batched = (rearrange(x, "(g n) h e -> g h n e", g=count) for x in qkv)
        outputs.append(rearrange(scaled_dot_product_attention(*batched), "g h n e -> (g n) h e"))
    return torch.cat(outputs) if len(outputs) > 1 else outputs[0]


def varlen(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """torch's ragged flash attention (CUDA, half precision). Positional arguments only: 2.11 to 2.13 agree on them."""
    from torch.nn.attention.varlen import varlen_attn

    q_ends, k_ends = _ends(q_lengths, q.device), _ends(k_lengths, k.device)
    out = varlen_attn(q, k, v, q_ends, k_ends, max(q_lengths), max(k_lengths))
    assert isinstance(out, torch.Tensor)  # without the log-sum-exp, which was not asked for
    return out


def _ends(lengths: Sequence[int], device: torch.device) -> Tensor:
    ends = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    ends[1:] = torch.tensor(lengths).cumsum(0)
    return ends.to(device, non_blocking=True)
