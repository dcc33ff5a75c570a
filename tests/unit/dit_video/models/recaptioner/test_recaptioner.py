from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.errors import ConfigError, DataError
from dit_video.models.recaptioner import Recaptioner
from dit_video.models.recaptioner.error import caption_error
from dit_video.models.text.tokenizer import PAD, Tokenizer
from dit_video.optim.muon import Muon
from dit_video.pipeline.recaption import write

CAPTIONS = ["a red circle moves up", "a large blue square", "two green things stand still", "nothing at all"]


@pytest.fixture
def model() -> Recaptioner:
    torch.manual_seed(0)
    return Recaptioner(width=32, depth=2, heads=4, vocabulary=300, slots=4, windows=2, side=32).eval()


def test_logits_do_not_know_later_words(model: Recaptioner) -> None:
    video, tokens = torch.randn(2, 3, 5, 32, 32), torch.randint(3, 300, (2, 8))
    other = tokens.clone()
    other[:, 5:] = torch.randint(3, 300, (2, 3))
    with torch.no_grad():
        one, two = model(video, tokens), model(video, other)
    assert_close(one[:, :5], two[:, :5])
    assert (one[:, 5:] - two[:, 5:]).abs().max() > 1e-3


def test_logits_do_not_know_padding(model: Recaptioner) -> None:
    video, tokens = torch.randn(2, 3, 5, 32, 32), torch.randint(3, 300, (2, 8))
    padded = torch.cat([tokens, torch.full((2, 5), PAD)], dim=1)
    with torch.no_grad():
        assert_close(model(video, padded)[:, :8], model(video, tokens))


def test_a_word_at_a_time_is_all_at_once(model: Recaptioner) -> None:
    video, tokens = torch.randn(2, 3, 5, 32, 32), torch.randint(3, 300, (2, 6))
    with torch.no_grad():
        whole = model(video, tokens)
        context, memory, parts = model.context(video), None, []
        for at in range(6):
            logits, memory = model.decode(tokens[:, at : at + 1], context, memory)
            parts.append(logits)
    assert_close(torch.cat(parts, dim=1), whole)


def test_clips_of_a_batch_do_not_know_each_other(model: Recaptioner) -> None:
    video, tokens = torch.randn(3, 3, 9, 40, 32), torch.randint(3, 300, (3, 6))
    with torch.no_grad():
        assert_close(model(video, tokens)[1:2], model(video[1:2], tokens[1:2]))


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 24, 64), (33, 64, 40)])
def test_any_size_and_duration(model: Recaptioner, shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        assert model.context(torch.randn(1, 3, *shape)).shape == (1, 4, 32)


def test_the_vocabulary_travels_with_the_weights(model: Recaptioner) -> None:
    with pytest.raises(DataError, match="no vocabulary"):
        model.tokenizer()
    tokenizer = Tokenizer.train(CAPTIONS, size=300)
    model.set_tokenizer(tokenizer)
    copy = Recaptioner(width=32, depth=2, heads=4, vocabulary=300, slots=4, windows=2, side=32)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.tokenizer().encode(CAPTIONS, length=60), tokenizer.encode(CAPTIONS, length=60))


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 2 \\* heads = 8"):
        Recaptioner(width=36, heads=4)
    with pytest.raises(ConfigError, match="vocabulary must be at least"):
        Recaptioner(width=32, heads=4, vocabulary=10)


def test_it_learns_four_clips_by_heart() -> None:
    torch.manual_seed(0)
    model = Recaptioner(width=32, depth=1, heads=4, vocabulary=300, slots=4, windows=1, side=16)
    tokenizer = Tokenizer.train(CAPTIONS, size=300)
    model.set_tokenizer(tokenizer)
    video, tokens = torch.randn(4, 3, 5, 16, 16), tokenizer.encode(CAPTIONS, length=32)
    optimizer = Muon(list(model.named_parameters()), lr=1e-2, weight_decay=0.0)
    for _ in range(60):
        errors, counts = caption_error(model(video, tokens), tokens)
        optimizer.zero_grad()
        (errors.sum() / counts.sum()).backward()
        optimizer.step()
    assert write(model.eval(), video, max_tokens=32) == CAPTIONS
