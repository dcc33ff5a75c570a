"""Attention over a pack is attention over each clip, forward and backward, against a float64 reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dit_video.ops.attention import attention, segmented

LENGTHS = [
    ((4,), (4,)),
    ((3, 3, 5), (3, 3, 5)),
    ((5, 3, 3, 1, 5), (5, 3, 3, 1, 5)),
    ((4, 4, 2), (7, 7, 7)),
    ((2, 2, 2), (1, 5, 5)),
]


def reference(q: Tensor, k: Tensor, v: Tensor, q_lengths: tuple[int, ...], k_lengths: tuple[int, ...]) -> Tensor:
    """Softmax attention, segment by segment, head by head, as the formula says."""
    outputs = []
    for mine, keys, values in zip(q.split(q_lengths), k.split(k_lengths), v.split(k_lengths), strict=True):
        scores = torch.einsum("nhe,mhe->hnm", mine, keys) / q.shape[-1] ** 0.5
        outputs.append(torch.einsum("hnm,mhe->nhe", scores.softmax(dim=-1), values))
    return torch.cat(outputs)


@pytest.mark.parametrize(("q_lengths", "k_lengths"), LENGTHS)
def test_segments_equal_the_reference(q_lengths: tuple[int, ...], k_lengths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    n, m = sum(q_lengths), sum(k_lengths)
    wanted = [torch.randn(size, 2, 8, dtype=torch.float64, requires_grad=True) for size in (n, m, m)]
    found = [x.detach().float().requires_grad_() for x in wanted]
    weights = torch.randn(n, 2, 8, dtype=torch.float64)
    right = reference(*wanted, q_lengths, k_lengths)
    ours = segmented(*found, q_lengths, k_lengths)
    assert_close(ours.double(), right, atol=1e-5, rtol=1e-5)
    (right * weights).sum().backward()
    (ours * weights.float()).sum().backward()
    for mine, theirs in zip(found, wanted, strict=True):
        assert_close(mine.grad.double(), theirs.grad, atol=1e-5, rtol=1e-4)


def test_other_segments_are_never_seen() -> None:
    q, k, v = torch.randn(3, 9, 2, 8).unbind(0)
    before = attention(q, k, v, (3, 6), (3, 6))
    k[3:], v[3:] = 1e4, torch.nan
    assert torch.equal(attention(q, k, v, (3, 6), (3, 6))[:3], before[:3])


def test_normed_queries_take_the_precision_of_the_values() -> None:
    q, k, v = (torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(at)) for at in range(3))
    mixed = attention(q, k, v.half(), [6], [6])
    assert mixed.dtype == torch.float16
    assert torch.equal(mixed, attention(q.half(), k.half(), v.half(), [6], [6]))
