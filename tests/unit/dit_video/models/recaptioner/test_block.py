from __future__ import annotations

import torch
from torch.testing import assert_close

from dit_video.models.recaptioner.block import Attention, DecoderBlock, EncoderBlock, Kept, Resampler


def test_attention_of_kept_parts_is_attention_of_the_whole() -> None:
    attention, tokens = Attention(width=32, heads=4), torch.randn(2, 6, 32)
    parts = [attention.keep(tokens[:, :4]), attention.keep(tokens[:, 4:])]
    joined = Kept(*(torch.cat(pair, dim=2) for pair in zip(*parts, strict=True)))
    assert_close(attention(tokens, joined), attention(tokens, attention.keep(tokens)))


def test_causal_attention_of_the_last_tokens_alone() -> None:
    attention, tokens = Attention(width=32, heads=4), torch.randn(2, 6, 32)
    kept = attention.keep(tokens)
    assert_close(attention(tokens[:, 4:], kept, causal=True), attention(tokens, kept, causal=True)[:, 4:])


def test_the_encoder_does_not_know_an_order() -> None:
    block, tokens, order = EncoderBlock(width=32, heads=4), torch.randn(2, 7, 32), torch.randperm(7)
    assert_close(block(tokens)[:, order], block(tokens[:, order]))


def test_the_resampler_has_its_slots_for_any_number_of_tokens() -> None:
    resampler = Resampler(width=32, heads=4, slots=5)
    torch.nn.init.normal_(resampler.slots)
    for count in (1, 40):
        assert resampler(torch.randn(2, count, 32)).shape == (2, 5, 32)
    tokens = torch.randn(2, 9, 32)
    assert_close(resampler(tokens), resampler(tokens.flip(1)))


def test_a_block_with_a_memory_goes_on_where_it_was() -> None:
    block, tokens, context = DecoderBlock(width=32, heads=4), torch.randn(2, 6, 32), torch.randn(2, 3, 32)
    whole, _ = block(tokens, context)
    first, memory = block(tokens[:, :4], context)
    second, _ = block(tokens[:, 4:], torch.full_like(context, torch.nan), memory)  # the context is not read again
    assert_close(torch.cat([first, second], dim=1), whole)
