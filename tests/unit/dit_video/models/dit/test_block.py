"""A block is three branches; each is shut by its gate or output, and modulated frame by frame."""

from __future__ import annotations

import torch
from torch.nn.functional import layer_norm
from torch.testing import assert_close

from dit_video.models.dit.block import Block, CrossAttention, GatedMLP, SelfAttention
from dit_video.ops.rope import rotary

FRAME = torch.tensor([0, 0, 0, 1, 1, 1])


def test_shut_gates_leave_the_text_alone() -> None:
    block = Block(16, heads=2)
    tokens, context = torch.randn(6, 16), torch.randn(2, 4, 16)
    turn = rotary(torch.rand(6, 3), width=8)
    out = block(tokens, context, torch.zeros(2, 96), FRAME, turn, (3, 3))
    assert_close(out, tokens + block.text(block.norm_text(tokens), context, (3, 3)))


def test_a_frames_signal_moves_its_own_mlp_and_no_others() -> None:
    block = Block(16, heads=2)
    tokens, context = torch.randn(6, 16), torch.randn(1, 4, 16)
    turn = rotary(torch.rand(6, 3), width=8)
    signal = torch.zeros(2, 96)
    before = block(tokens, context, signal, FRAME, turn, (6,))
    signal[1, -16:] = 1.0  # the gate of the MLP
    after = block(tokens, context, signal, FRAME, turn, (6,))
    assert torch.equal(after[:3], before[:3])
    assert_close(after[3:] - before[3:], block.mlp(layer_norm(before[3:], (16,), eps=1e-6)))


def test_the_scale_of_queries_and_keys_does_not_matter_but_for_its_parameter() -> None:
    attn = SelfAttention(16, heads=2)
    tokens, turn = torch.randn(6, 16), rotary(torch.rand(6, 3), width=8)
    before = attn(tokens, turn, (6,))
    with torch.no_grad():
        attn.qkv.weight[:32] *= 3
    assert_close(attn(tokens, turn, (6,)), before, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        attn.scale *= 3
    assert not torch.allclose(attn(tokens, turn, (6,)), before, atol=1e-4)


def test_the_order_of_words_does_not_matter_to_cross_attention_alone() -> None:
    text = CrossAttention(16, heads=2)
    tokens, context = torch.randn(6, 16), torch.randn(2, 4, 16)
    assert_close(text(tokens, context[:, torch.tensor([2, 0, 3, 1])], (2, 4)), text(tokens, context, (2, 4)))
    assert not torch.allclose(text(tokens, context.flip(0), (2, 4)), text(tokens, context, (2, 4)))


def test_the_mlp_is_swiglu() -> None:
    mlp, x = GatedMLP(16), torch.randn(3, 16)
    gate, value = (x @ mlp.up.weight.T).chunk(2, dim=-1)
    assert_close(mlp(x), (gate * gate.sigmoid() * value) @ mlp.down.weight.T)
