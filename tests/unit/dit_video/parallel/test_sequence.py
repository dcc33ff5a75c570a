"""Attention over a group of processes is attention."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing import assert_close

from dit_video.ops.attention import segmented
from dit_video.parallel.sequence import Ulysses, overlaps, stretch, to_heads, to_tokens
from dit_video.seeds import generator

sys.path.append(str(Path(__file__).resolve().parents[3] / "fakes"))
from fake.ranks import run_ranks

LENGTHS, TEXTS = (3, 8, 1), (4, 4, 4)


def tensors() -> list[Tensor]:
    """q, k, v of 12 tokens and of a text of 12, four heads."""
    return [torch.randn(12, 4, 6, generator=generator(0, "t", n), dtype=torch.float64) for n in range(5)]


def compare(rank: int, world: int) -> None:
    """Self-attention and attention to a text: outputs and gradients of this rank's tokens."""
    group = dist.group.WORLD
    assert group is not None
    parted = Ulysses(segmented, group)
    q, k, v, text_k, text_v = (x.requires_grad_() for x in tensors())
    own = [stretch(x.detach(), rank=rank, size=world).requires_grad_() for x in (q, k, v)]
    texts = [x.detach().clone().requires_grad_() for x in (text_k, text_v)]
    whole = segmented(q, k, v, LENGTHS, LENGTHS), segmented(q, text_k, text_v, LENGTHS, TEXTS)
    parts = parted(own[0], own[1], own[2], LENGTHS, LENGTHS), parted(own[0], texts[0], texts[1], LENGTHS, TEXTS)
    for one, two in zip(whole, parts, strict=True):
        assert_close(two, stretch(one, rank=rank, size=world))
    sum(x.square().sum() for x in whole).backward()  # type: ignore[union-attr]
    sum(x.square().sum() for x in parts).backward()  # type: ignore[union-attr]
    for one, two in zip((q, k, v), own, strict=True):
        assert_close(two.grad, stretch(one.grad, rank=rank, size=world))  # type: ignore[arg-type]
    for one, two in zip((text_k, text_v), texts, strict=True):
        assert two.grad is not None
        dist.all_reduce(two.grad)
        assert_close(two.grad, one.grad)


def there_and_back(rank: int, world: int) -> None:
    """A process has all tokens of its heads between the two exchanges."""
    group = dist.group.WORLD
    assert group is not None
    x = tensors()[0]
    mine = stretch(x, rank=rank, size=world)
    heads = to_heads(mine, group)
    assert_close(heads, x[:, rank * 4 // world : (rank + 1) * 4 // world])
    assert torch.equal(to_tokens(heads, group), mine)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 12])
def test_parts_overlap_with_all_tokens_once(size: int) -> None:
    parts = [overlaps(LENGTHS, rank=rank, size=size) for rank in range(size)]
    assert [sum(part) for part in parts] == [12 // size] * size
    assert [sum(counts) for counts in zip(*parts, strict=True)] == list(LENGTHS)


def test_attention_over_two_and_four_processes_is_attention() -> None:
    run_ranks(compare, 2, 2)
    run_ranks(compare, 4, 4)


def test_tokens_are_traded_for_heads_and_back() -> None:
    run_ranks(there_and_back, 2, 2)
