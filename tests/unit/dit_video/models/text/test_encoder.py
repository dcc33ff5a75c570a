"""The text encoder carries its tokenizer, and captions do not mix."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.errors import DataError
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.text.tokenizer import Tokenizer

TEXTS = ["a red circle moves left", "a blue square stands still on a grey ground", ""]


def tiny() -> TextEncoder:
    return TextEncoder(vocabulary=300, length=12, width=16, depth=2, heads=2)


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    encoder = tiny()
    encoder.set_tokenizer(Tokenizer.train(TEXTS, size=300))
    return encoder


def test_captions_do_not_mix(encoder: TextEncoder) -> None:
    together = encoder(TEXTS)
    assert together.shape == (3, 12, 16)
    for text, context in zip(TEXTS, together, strict=True):
        assert_close(encoder([text])[0], context, atol=1e-5, rtol=1e-5)


def test_words_and_their_order_matter(encoder: TextEncoder) -> None:
    one, two, three = encoder(["red circle", "blue circle", "circle red"])
    assert (one - two).abs().max() > 0.1
    assert (one - three).abs().max() > 0.1


def test_long_captions_are_cut_and_any_text_is_taken(encoder: TextEncoder) -> None:
    assert encoder(["circle " * 500, "日本語 \x00 🙂"]).shape == (2, 12, 16)


def test_the_weights_hold_the_tokenizer(encoder: TextEncoder) -> None:
    other = tiny()
    other.load_state_dict(encoder.state_dict())
    assert other.tokenizer.to_json() == encoder.tokenizer.to_json()
    assert_close(other(TEXTS), encoder(TEXTS))


def test_without_a_tokenizer_it_says_so() -> None:
    with pytest.raises(DataError):
        tiny()(["a circle"])
