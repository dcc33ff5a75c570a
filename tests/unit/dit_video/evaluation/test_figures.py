"""Figures of pairs: known values, and nothing but the frames decides them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import structural_similarity_index_measure

from dit_video.evaluation.figures import FIGURES, Pair, psnr, ssim

Video = NDArray[np.uint8]


def video(*, frames: int = 5, height: int = 16, width: int = 20, seed: int = 0) -> Video:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def figures(original: Video, copy: Video) -> dict[str, float | None]:
    pair = Pair()
    for frame, other in zip(original, copy, strict=True):
        pair.add(frame, other)
    assert pair.figures().keys() == FIGURES.keys()
    return pair.figures()


def test_a_video_is_equal_to_itself() -> None:
    a = video()
    found = figures(a, a)
    assert found["psnr_db"] == math.inf
    assert found["ssim"] == pytest.approx(1.0)
    assert (found["motion"], found["detail"]) == (0.0, 1.0)


def test_psnr_is_that_of_the_error() -> None:
    a = np.zeros((2, 16, 16, 3), np.uint8)
    assert psnr(a, a + np.uint8(255)) == pytest.approx(0.0)
    assert psnr(a, a + np.uint8(51)) == pytest.approx(20 * math.log10(5))
    assert psnr(video(), video(seed=1)) == pytest.approx(figures(video(), video(seed=1))["psnr_db"])


def test_ssim_is_that_of_torchmetrics() -> None:
    a = video(height=24)
    b = np.clip(a + np.random.default_rng(2).normal(0, 20, a.shape), 0, 255).astype(np.uint8)
    first, second = (torch.from_numpy(x).permute(0, 3, 1, 2).double() for x in (a, b))
    whole = structural_similarity_index_measure(second, first, data_range=255.0)
    assert figures(a, b)["ssim"] == pytest.approx(float(whole), abs=1e-5)
    assert ssim(a[0], b[0]) == pytest.approx(ssim(b[0], a[0]))


def test_a_still_has_no_flicker_and_a_copy_that_trembles_has_as_much_as_it_trembles() -> None:
    still = np.repeat(video(frames=1), 6, axis=0) // 2
    assert figures(still, still)["flicker"] == 0.0
    blurred = still // 2
    assert figures(still, blurred)["flicker"] == 0.0
    trembling = still.copy()
    trembling[1::2] += 10
    found = figures(still, trembling)
    assert found["flicker"] == pytest.approx(10.0)
    assert found["motion"] == pytest.approx(10.0)


def test_motion_is_the_error_of_changes_not_of_frames() -> None:
    a = video() // 2
    assert figures(a, a + np.uint8(40))["motion"] == 0.0
    frozen = np.repeat(a[:1], len(a), axis=0)
    changes = np.abs(np.diff(a.astype(np.int64), axis=0)).mean()
    assert figures(a, frozen)["motion"] == pytest.approx(changes)


def test_a_blurred_copy_has_less_detail() -> None:
    import cv2

    a = video(height=32, width=32)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in a]).astype(np.uint8)
    detail = figures(a, blurred)["detail"]
    assert detail is not None
    assert detail < 0.1


def test_a_picture_has_no_motion_and_a_tiny_one_no_ssim() -> None:
    found = figures(video(frames=1, height=8), video(frames=1, height=8, seed=1))
    assert found["motion"] is found["flicker"] is found["ssim"] is found["lpips"] is None
    assert found["psnr_db"] is not None


def test_the_worst_frame_is_known() -> None:
    a, pair = video(), Pair()
    b = a.copy()
    b[3] = 255 - b[3]
    for frame, other in zip(a, b, strict=True):
        pair.add(frame, other, lpips=0.5)
    assert -pair.worst[1] == 3
    assert pair.figures()["lpips"] == 0.5
