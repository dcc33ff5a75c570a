from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from dit_video.models.recaptioner.embed import (
    CELL,
    LONGEST,
    STRIDE,
    WINDOW,
    Embed,
    contrast,
    fourier,
    glance,
    glance_frames,
    glance_size,
)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 13, 14, 17, 24, 49, 241])
def test_windows_stay_in_the_clip_and_keep_their_stride(count: int) -> None:
    times = glance_frames(count, windows=4)
    assert times.shape[1] == WINDOW
    assert 1 <= len(times) <= 4
    assert times.min() >= 0
    assert times.max() <= count - 1
    assert (times.diff(dim=1) >= 0).all()
    assert times.diff(dim=1).max() <= STRIDE
    if count > STRIDE * (WINDOW - 1):
        assert (times.diff(dim=1) == STRIDE).all()


def test_an_image_is_a_window_of_itself() -> None:
    assert glance_frames(1, windows=4).tolist() == [[0] * WINDOW]


def test_windows_of_a_long_clip_reach_both_ends() -> None:
    times = glance_frames(240, windows=4)
    assert len(times) == 4
    assert times[0, 0] == 0
    assert times[-1, -1] == 239


@pytest.mark.parametrize("size", [(48, 48), (64, 32), (32, 64), (720, 1280), (1280, 720), (480, 10_000), (8, 8)])
def test_glances_have_one_short_side_and_the_clip_s_aspect(size: tuple[int, int]) -> None:
    found = glance_size(*size, side=48)
    assert min(found) == 48
    assert max(found) % CELL == 0
    wanted = min(max(size) / min(size), LONGEST)
    assert abs(max(found) / min(found) - wanted) <= CELL / 48


def test_a_glance_of_a_fitting_clip_is_its_frames() -> None:
    video = torch.randn(2, 3, 13, 48, 48)
    seen, times = glance(video, windows=4, side=48)
    assert_close(seen, video[:, :, times.flatten()].unflatten(2, times.shape))


def test_contrast_does_not_depend_on_brightness_or_its_scale() -> None:
    windows = torch.randn(2, 3, WINDOW, 16, 16)
    assert_close(contrast(3 * windows + 1), contrast(windows), rtol=1e-3, atol=1e-3)


def test_contrast_of_one_colour_is_finite() -> None:
    assert_close(contrast(torch.full((1, 3, WINDOW, 8, 8), 0.3)), torch.ones(1, 1, WINDOW, 8, 8))


def test_fourier_has_its_wavelengths() -> None:
    code = fourier(torch.tensor([0.0, 8.0]), bands=3, longest=8.0, shortest=2.0)
    assert_close(code[0], code[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(1, 32, 32), (5, 40, 64), (17, 64, 24), (60, 48, 48)])
def test_tokens_for_any_size(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        tokens = Embed(width=32, windows=2, side=32)(torch.randn(2, 3, *shape))
    height, width = glance_size(*shape[1:], side=32)
    windows = len(glance_frames(shape[0], windows=2))
    assert tokens.shape == (2, windows * height * width // CELL**2, 32)


def test_frames_between_the_glances_are_not_read() -> None:
    embed, video = Embed(width=32, windows=1, side=32), torch.randn(1, 3, 13, 32, 32)
    other = video.clone()
    other[:, :, [1, 2, 3, 5]] += 1
    with torch.no_grad():
        assert torch.equal(embed(video), embed(other))
