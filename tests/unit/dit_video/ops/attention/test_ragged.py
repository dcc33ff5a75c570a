"""Where the kernels cut a sequence; on a GPU, the kernels against float64."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.ops.attention import BACKENDS, ragged, segmented
from dit_video.ops.attention.choose import lacking

KERNELS = [name for name, backend in BACKENDS.items() if backend.module]


def test_segments_end_where_their_lengths_add_up() -> None:
    q_ends, k_ends, q_most, k_most = ragged.cuts(torch.empty(9), [4, 2, 3], [1, 1, 5])
    assert q_ends.tolist() == [0, 4, 6, 9]
    assert k_ends.tolist() == [0, 1, 2, 7]
    assert (q_most, k_most, q_ends.dtype) == (4, 5, torch.int32)


def test_what_a_sampling_has_asked_for_serves_a_training() -> None:
    with torch.inference_mode():
        found = ragged.ends((11, 7), torch.device("cpu"))
    assert not found.is_inference()
    assert ragged.ends((11, 7), torch.device("cpu")) is found


def test_the_log_sum_exp_is_left_out() -> None:
    out, lse = torch.zeros(2), torch.ones(2)
    assert ragged.only((out, lse)) is out
    assert ragged.only(out) is out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_kernels_are_the_formula_forward_and_backward(name: str, kind: torch.dtype) -> None:
    gpu = torch.device("cuda")
    if (why := lacking(name, gpu, kind)) is not None:
        pytest.skip(why)
    source = torch.Generator(gpu).manual_seed(0)
    lengths, texts = (300, 17, 64, 1), (33, 5, 64, 7)
    sizes = (sum(lengths), sum(texts), sum(texts))
    wanted = [torch.randn(n, 2, 64, device=gpu, dtype=kind, generator=source).requires_grad_() for n in sizes]
    exact = [tensor.detach().double().requires_grad_() for tensor in wanted]
    found, right = BACKENDS[name].attend(*wanted, lengths, texts), segmented(*exact, lengths, texts)
    weight = torch.randn(right.shape, device=gpu, dtype=kind, generator=source)
    bound = {"atol": 2e-2, "rtol": 2e-2} if kind == torch.bfloat16 else {"atol": 3e-3, "rtol": 3e-3}
    assert_close(found.double(), right, **bound)
    mine = torch.autograd.grad((found * weight).sum(), wanted)
    theirs = torch.autograd.grad((right * weight.double()).sum(), exact)
    for a, b in zip(mine, theirs, strict=True):
        assert_close(a.double(), b, **bound)
