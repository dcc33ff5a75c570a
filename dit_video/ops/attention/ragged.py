"""Attention by kernels that take a ragged sequence as it is: torch's own, and FlashAttention 2, 3 and 4.

All compute in half precision on CUDA. **Not yet run on a device here**; each is written after its published signature
(flash-attn 2.8, flash_attn_interface of its `hopper` folder, flash-attn-4 4.0 beta, torch 2.11 to 2.13).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def varlen(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """torch.nn.attention.varlen, by positions alone, on which 2.11 to 2.13 agree; as `Attention`."""
    from torch.nn.attention.varlen import varlen_attn

    return only(varlen_attn(q, k, v, *cuts(q, q_lengths, k_lengths)))


def flash2(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """FlashAttention 2 (Dao 2023, 2307.08691), package flash-attn; as `Attention`."""
    from flash_attn import flash_attn_varlen_func

    return only(flash_attn_varlen_func(q, k, v, *cuts(q, q_lengths, k_lengths)))


def flash3(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """FlashAttention 3 (Shah et al. 2024, 2407.08608), Hopper, built of flash-attention/hopper; as `Attention`."""
    from flash_attn_interface import flash_attn_varlen_func

    return only(flash_attn_varlen_func(q, k, v, *cuts(q, q_lengths, k_lengths)))


def flash4(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """FlashAttention 4, Hopper and Blackwell, package flash-attn-4; as `Attention`."""
    from flash_attn.cute import flash_attn_varlen_func

    q_ends, k_ends, q_most, k_most = cuts(q, q_lengths, k_lengths)
    found = flash_attn_varlen_func(
        q, k, v, cu_seqlens_q=q_ends, cu_seqlens_k=k_ends, max_seqlen_q=q_most, max_seqlen_k=k_most
    )
    return only(found)


def only(found: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The output, without the log-sum-exp that some versions give along."""
    return found[0] if isinstance(found, tuple) else found


def cuts(q: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> tuple[Tensor, Tensor, int, int]:
    """Where segments end, (segments + 1,) int32 on the device, and the longest of them."""
    q_ends, k_ends = ends(tuple(q_lengths), q.device), ends(tuple(k_lengths), q.device)
    return q_ends, k_ends, max(q_lengths), max(k_lengths)


@lru_cache(maxsize=16)
def ends(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Where segments end; all blocks of a step ask for the same, and so may a training after a sampling."""
    with torch.inference_mode(mode=False):
        found = torch.zeros(len(lengths) + 1, dtype=torch.int32)
        found[1:] = torch.tensor(lengths).cumsum(0)
        return found.to(device, non_blocking=True)
