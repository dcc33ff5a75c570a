"""Pictures of errors: black where there is none, and all panels of one height."""

from __future__ import annotations

import numpy as np

from dit_video.evaluation.beside import GAIN, GAP, LARGE, RAMP, SMALL, beside, error_map, panel


def image(height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_error_map_is_black_where_copy_and_frame_are_equal() -> None:
    frame = image()
    copy = frame.copy()
    copy[3:5, 7:9] = 255 - copy[3:5, 7:9]
    found = error_map(frame, copy)
    away = np.ones(frame.shape[:2], bool)
    away[3:5, 7:9] = False
    assert not found[away].any()
    assert found[3:5, 7:9].any()
    assert not error_map(frame, frame).any()


def test_errors_of_the_range_are_brightest_and_larger_errors_are_brighter() -> None:
    frame = np.zeros((1, 40, 3), np.uint8)
    copy = np.repeat(np.arange(40, dtype=np.uint8)[None, :, None], 3, axis=2)
    light = error_map(frame, copy).astype(int).sum(-1)[0]
    assert (np.diff(light) >= 0).all()
    assert light[-1] == RAMP[-1].sum()
    assert (light[:-1] < light[-1]).sum() >= 255 // GAIN


def test_panels_of_small_and_large_frames_have_the_size_of_a_page() -> None:
    assert panel(image(20, 30)).shape == (100, 150, 3)
    assert np.array_equal(panel(image(20, 30))[::5, ::5], image(20, 30))
    assert panel(image(SMALL + 1, 30)).shape == (SMALL + 1, 30, 3)
    assert panel(image(1080, 1920)).shape == (LARGE, round(1920 * LARGE / 1080), 3)


def test_one_copy_stands_in_a_row_and_several_above_their_errors() -> None:
    frame, copies = image(100, 40), [image(100, 40, seed) for seed in (1, 2)]
    one = beside(frame, copies[:1])
    assert one.shape == (100, 3 * 40 + 2 * GAP, 3)
    assert np.array_equal(one[:, :40], frame)
    assert np.array_equal(one[:, 44:84], copies[0])
    several = beside(frame, copies)
    assert several.shape == (2 * 100 + GAP, 3 * 40 + 2 * GAP, 3)
    assert np.array_equal(several[:100, 88:], copies[1])
    assert np.array_equal(several[104:, 88:], error_map(frame, copies[1]))
