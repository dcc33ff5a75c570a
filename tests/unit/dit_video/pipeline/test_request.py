"""Requests are checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dit_video.errors import RequestError
from dit_video.pipeline.recipe import Recipe
from dit_video.pipeline.request import Request, parse_size, share, snap
from dit_video.shapes import Compression, VideoShape

SIZES = ((9, 32, 48), (5, 32, 48), (1, 32, 48), (9, 48, 32), (1, 64, 64))
BUCKETS = tuple(VideoShape(frames=f, height=h, width=w) for f, h, w in SIZES)
RECIPE = Recipe(buckets=BUCKETS, fps=8.0, compression=Compression(time=4, space=8, channels=4))


def request(prompt: str = "a circle", height: int = 32, width: int = 48, frames: int = 9) -> Request:
    return Request(prompt=prompt, height=height, width=width, frames=frames)


def test_what_can_be_made_passes() -> None:
    for good in (request(), request(""), request(frames=1), request(frames=1000), request(height=48, width=32)):
        good.check(RECIPE)
    request(height=64, width=64, frames=1).check(RECIPE)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (request("x" * 100_000), "100000 characters; expected at most 4000"),
        (request(height=32, width=32), r"32x32 .*expected one of 32x48, 48x32, 64x64"),
        (request(frames=0), "at least one frame, got 0"),
        (request(height=64, width=64), "only images of size=64x64"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_line(bad: Request, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        bad.check(RECIPE)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_frames_are_given_at_one_end_alone() -> None:
    frames = np.zeros((5, 32, 48, 3), np.uint8)
    both = Request(prompt="", height=32, width=48, frames=4, start=frames, end=frames)
    with pytest.raises(RequestError, match="before and after"):
        both.check(RECIPE)


def test_no_more_requests_are_drawn_than_a_group_needs() -> None:
    drawn: list[int] = []

    def asked() -> Iterator[Request]:
        for number in range(20):
            drawn.append(number)
            yield request(frames=9)

    groups = share(asked(), tokens=150, recipe=RECIPE)
    assert drawn == []
    assert len(next(groups)) == 2  # 72 positions each
    assert len(drawn) == 3


def test_the_total_counts_what_is_given() -> None:
    frames = np.zeros((5, 32, 48, 3), np.uint8)
    assert request(frames=4).total == 4
    assert Request(prompt="", height=32, width=48, frames=4, start=frames).total == 9
    assert Request(prompt="", height=32, width=48, frames=4, end=frames).total == 9


def test_the_longest_bucket_of_a_size() -> None:
    assert (RECIPE.longest(32, 48), RECIPE.longest(64, 64)) == (9, 1)


@pytest.mark.parametrize("time", [1, 2, 4])
def test_snapping_is_the_least_length_that_can_be_encoded(time: int) -> None:
    lengths = [1 + k * time for k in range(60)]
    for frames in range(1, 50):
        assert snap(frames, time=time) == min(length for length in lengths if length >= frames)


def test_sizes_are_width_by_height() -> None:
    assert parse_size("48x32") == parse_size("48X32") == (32, 48)


@pytest.mark.parametrize("text", ["", "48", "48x", "x48", "48x32x1", "-48x32", "4.5x3", "48 32", "4²x3", "axb"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(RequestError, match="expected WIDTHxHEIGHT"):
        parse_size(text)


def test_groups_keep_the_order_and_their_room() -> None:
    requests = [request(str(number), frames=1 + number % 3 * 4) for number in range(20)]
    groups = list(share(requests, tokens=150, recipe=RECIPE))
    assert [r for group in groups for r in group] == requests
    cost = [sum((1 + (r.frames - 1) // 4) * 4 * 6 for r in group) for group in groups]
    assert max(cost) <= 150
    assert all(a + 24 * (1 + (group[0].frames - 1) // 4) > 150 for a, group in zip(cost, groups[1:], strict=False))
    assert [len(group) for group in share(requests, tokens=1, recipe=RECIPE)] == [1] * 20
