"""From requests to frames: counts, given frames untouched, videos longer than any bucket."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dit_video.errors import RequestError
from dit_video.pipeline.denoise import Sampling
from dit_video.pipeline.generate import Models, decode, encode, generate, to_frames, to_pixels
from dit_video.pipeline.request import Request

Frames = NDArray[np.uint8]
SAMPLING = Sampling(steps=2)


def frames_of(count: int, height: int = 16, width: int = 16) -> Frames:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def make(models: Models, *requests: Request) -> list[Frames]:
    return list(generate(requests, models=models, sampling=SAMPLING))


def ask(frames: int, *, seed: int = 0, start: Frames | None = None, end: Frames | None = None) -> Request:
    given = start if start is not None else end
    height, width = (16, 16) if given is None else given.shape[1:3]
    return Request(prompt="a red circle", height=height, width=width, frames=frames, seed=seed, start=start, end=end)


@pytest.mark.parametrize("frames", [1, 4, 9, 10, 25])
def test_any_length_is_made_as_long_as_asked(models: Models, frames: int) -> None:
    (video,) = make(models, ask(frames))
    assert video.shape == (frames, 16, 16, 3)
    assert video.dtype == np.uint8
    assert video.std() > 1


def test_a_long_video_begins_as_a_short_one(models: Models) -> None:
    (short,), (long,) = make(models, ask(9)), make(models, ask(20))
    assert np.array_equal(long[:9], short)


def test_an_image_comes_first_as_the_vae_shows_it(models: Models) -> None:
    image = frames_of(1)
    (video,) = make(models, ask(8, start=image))
    assert video.shape == (9, 16, 16, 3)
    (seen,) = decode(encode([image], vae=models.vae), vae=models.vae)
    assert np.abs(video[:1].astype(int) - seen).max() <= 1
    (other,) = make(models, ask(8, start=255 - image))
    assert not np.array_equal(video[1:], other[1:])


@pytest.mark.parametrize("given", [2, 5, 7, 12])
@pytest.mark.parametrize("frames", [1, 4, 15])
def test_forward_keeps_what_is_given_and_adds_what_is_asked(models: Models, given: int, frames: int) -> None:
    start = frames_of(given)
    (video,) = make(models, ask(frames, start=start))
    assert len(video) == given + frames
    assert np.array_equal(video[:given], start)


@pytest.mark.parametrize("given", [1, 2, 5, 12])
@pytest.mark.parametrize("frames", [1, 4, 15])
def test_backward_likewise(models: Models, given: int, frames: int) -> None:
    end = frames_of(given)
    (video,) = make(models, ask(frames, end=end))
    assert len(video) == given + frames
    assert np.array_equal(video[-given:], end)


@pytest.mark.parametrize("end", [False, True])
def test_what_is_near_is_seen_and_what_is_far_is_not(models: Models, end: bool) -> None:
    given = frames_of(12)
    near, far = given.copy(), given.copy()
    near[0 if end else -1], far[-1 if end else 0] = 0, 0
    first, second, third = make(models, *(ask(4, end=g) if end else ask(4, start=g) for g in (given, near, far)))
    made = slice(0, 4) if end else slice(12, 16)
    assert not np.array_equal(first[made], second[made])
    assert np.array_equal(first[made], third[made])


@pytest.mark.parametrize("end", [False, True])
def test_fewer_frames_are_the_ones_next_to_what_is_given(models: Models, end: bool) -> None:
    given = frames_of(5)
    (four,), (three,) = (make(models, ask(n, end=given) if end else ask(n, start=given)) for n in (4, 3))
    assert np.array_equal(four[1:] if end else four[:-1], three)


@pytest.mark.parametrize("end", [False, True])
def test_a_bucket_of_two_latent_frames_is_enough_to_go_on(models: Models, end: bool) -> None:
    given = frames_of(6, 24, 24)
    (video,) = make(models, ask(11, end=given) if end else ask(11, start=given))
    assert video.shape == (17, 24, 24, 3)


def test_requests_together_are_requests_alone(models: Models) -> None:
    some = [ask(12), ask(4, seed=1, start=frames_of(6)), ask(4, end=frames_of(5, 16, 24)), ask(1, seed=3)]
    together = make(models, *some)
    alone = [make(models, request)[0] for request in some]
    apart = generate(some, models=models, sampling=SAMPLING, tokens=1)
    for video, one, other in zip(together, alone, apart, strict=True):
        assert np.array_equal(one, other)
        assert np.abs(video.astype(int) - one).max() <= 1


def test_a_group_comes_as_soon_as_it_is_finished(models: Models) -> None:
    bad = Request(prompt="x", height=16, width=40, frames=1)
    videos = generate([ask(9), ask(4), bad], models=models, sampling=SAMPLING, tokens=1)
    assert next(videos).shape == (9, 16, 16, 3)
    with pytest.raises(RequestError):
        next(videos)


def test_values_that_are_not_finite_are_said(models: Models) -> None:
    with pytest.raises(RequestError, match=r"not finite; lower sampling\.guidance"):
        list(generate([ask(4)], models=models, sampling=Sampling(steps=2, guidance=1e38)))


def test_pixels_and_frames_round_trip() -> None:
    frames = frames_of(3)
    video = to_pixels(frames)
    assert video.shape == (3, 3, 16, 16)
    assert video.min() >= -1
    assert video.max() <= 1
    assert np.array_equal(to_frames(video), frames)
    assert np.array_equal(to_frames(torch.tensor([-3.0, 3.0]).expand(3, 1, 1, 2)), [[[[0] * 3, [255] * 3]]])
