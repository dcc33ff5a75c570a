"""Attention over a packed sequence of clips: one signature, and the backend that suits the device.

Queries are cut by `q_lengths`, keys and values by `k_lengths`; segment i of one sees segment i of the other alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dit_video.ops.attention.choose import BACKENDS, attention, named
from dit_video.ops.attention.segmented import segmented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["BACKENDS", "Attention", "attention", "named", "segmented"]


class Attention(Protocol):
    """(q, k, v, q_lengths, k_lengths) -> output; q is (n, h, e), k and v are (m, h, e), the output is like q."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
        """Softmax attention within segments, scaled by e^-0.5."""
        ...
