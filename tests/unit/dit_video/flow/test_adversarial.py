"""The game's losses are where they should be at equal logits, and its balance is of norms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from dit_video.flow import adversarial as game


def test_equal_logits_are_a_draw() -> None:
    logits = torch.randn(3, 2, 4, 4)
    for loss in (game.discriminator_loss, game.generator_loss):
        assert_close(loss(logits, logits, kind="relativistic"), torch.full((3,), math.log(2)))
    assert_close(game.discriminator_loss(torch.zeros(2, 5), torch.zeros(2, 5), kind="hinge"), torch.ones(2))
    assert_close(game.accuracy(logits, logits - 1), torch.ones(3))
    assert_close(game.accuracy(logits, logits + 1), torch.zeros(3))


@pytest.mark.parametrize("kind", ["relativistic", "hinge"])
def test_the_two_sides_want_the_opposite(kind: game.Kind) -> None:
    fake = torch.zeros(2, 3, requires_grad=True)
    real = torch.zeros(2, 3)
    (judged,) = torch.autograd.grad(game.discriminator_loss(real, fake, kind=kind).sum(), fake)
    (asked,) = torch.autograd.grad(game.generator_loss(real, fake, kind=kind).sum(), fake)
    assert (judged > 0).all()
    assert (asked < 0).all()


def test_a_shift_of_all_logits_is_nothing_to_the_relativistic_one() -> None:
    real, fake = torch.randn(2, 2, 5).unbind(0)
    for loss in (game.discriminator_loss, game.generator_loss):
        assert_close(loss(real + 7, fake + 7, kind="relativistic"), loss(real, fake, kind="relativistic"))


def test_a_smooth_judge_pays_nothing() -> None:
    logits = torch.randn(2, 3, 4)
    assert_close(game.smoothness(logits, logits), torch.zeros(2))
    assert_close(game.smoothness(logits, logits + 0.5), torch.full((2,), 0.25))


def test_the_level_rises_once() -> None:
    assert [game.level(seen, begin=10, warmup=20) for seen in (5, 10, 20, 30, 90)] == [0, 0, 0.5, 1, 1]
    assert [game.level(seen, begin=10, warmup=0) for seen in (10, 11)] == [0, 1]


def test_the_factor_makes_both_norms_equal_whatever_the_scale_of_the_judge() -> None:
    pull, push = torch.randn(2, 100)
    for scale in (1e-6, 1.0, 1e6):
        squares = torch.stack([pull.square().sum(), (scale * push).square().sum()])
        factor = game.factor(squares, limit=1e12)
        assert_close(factor * (scale * push).norm(), pull.norm())
    assert game.factor(torch.tensor([1.0, 1e-30]), limit=100.0) == 100
    assert game.factor(torch.tensor([0.0, 1.0]), limit=100.0) == 0
    assert game.factor(torch.tensor([1.0, 0.0]), limit=100.0) == 0


def test_the_first_squares_are_taken_as_they_are() -> None:
    squares = torch.zeros(2)
    game.average(squares, torch.tensor([2.0, 4.0]), rate=0.25)
    assert squares.tolist() == [2, 4]
    game.average(squares, torch.tensor([6.0, 0.0]), rate=0.25)
    assert squares.tolist() == [3, 3]


def test_what_is_silent_has_its_gradient_alone() -> None:
    video = torch.randn(2, 3, requires_grad=True)
    asked = torch.randn(2, 3)
    value = game.steer(video, asked)
    assert value == 0
    assert_close(torch.autograd.grad(value, video)[0], asked)
    for bad in (math.nan, math.inf):
        assert not torch.isfinite(game.steer(video, torch.full((2, 3), bad)))
        assert not torch.isfinite(game.silent(torch.tensor(bad)))
