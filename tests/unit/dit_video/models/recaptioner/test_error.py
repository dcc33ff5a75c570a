from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from dit_video.models.recaptioner.error import caption_error
from dit_video.models.text.tokenizer import PAD, START, STOP

TOKENS = torch.tensor([[START, 7, 8, STOP, PAD, PAD], [START, 9, STOP, PAD, PAD, PAD]])


def test_even_logits_cost_the_logarithm_of_the_vocabulary() -> None:
    errors, counts = caption_error(torch.zeros(2, 6, 50), TOKENS)
    assert counts.tolist() == [3, 2]
    assert_close(errors, counts * math.log(50))


def test_padding_changes_nothing() -> None:
    logits = torch.randn(2, 6, 50)
    longer = torch.cat([TOKENS, torch.full((2, 3), PAD)], dim=1)
    more = torch.cat([logits, torch.randn(2, 3, 50)], dim=1)
    for one, two in zip(caption_error(logits, TOKENS), caption_error(more, longer), strict=True):
        assert_close(one, two)


def test_the_right_next_id_costs_nothing() -> None:
    logits = torch.zeros(2, 6, 50)
    for row in range(2):
        for at in range(5):
            logits[row, at, TOKENS[row, at + 1]] = 100.0
    assert_close(caption_error(logits, TOKENS)[0], torch.zeros(2))
