"""Colours: what is in the range of an ordinary display comes out as it went in, whatever it was written in."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from dit_video.media.colour import (
    GAMMA,
    HLG,
    PEAK,
    PQ,
    TO_709,
    WHITE,
    hlg_scene,
    mapped,
    peak_of,
    pq_code,
    pq_light,
    to_luma,
    to_rgb,
    toned,
)

BT2020 = 9


def display(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Codes 0 to 255 of light in cd/m2 on a display with a white of `WHITE` (BT.1886)."""
    return 255 * np.clip(light / WHITE, 0, 1) ** (1 / GAMMA)


def ten_bits(rgb: NDArray[np.float64], *, transfer: int) -> av.VideoFrame:
    """A limited-range BT.2020 yuv420p10 frame, tagged, of PQ or HLG codes (n, 3): patches of 16x16 in a row."""
    luma = rgb @ (0.2627, 0.6780, 0.0593)
    blue, red = (rgb[:, 2] - luma) / 1.8814, (rgb[:, 0] - luma) / 1.4746
    frame = av.VideoFrame(16 * len(rgb), 16, "yuv420p10le")
    for plane, values in zip(frame.planes, (64 + 876 * luma, 512 + 896 * blue, 512 + 896 * red), strict=True):
        wide = plane.width // len(rgb)
        whole = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        whole[:, : plane.width] = np.repeat(np.round(values), wide)
        plane.update(whole.tobytes())
    frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, BT2020, transfer, 1
    return frame


def shown(rgb: NDArray[np.float64], *, transfer: int) -> NDArray[np.float64]:
    """The patches of `ten_bits` as they are converted, (n, 3)."""
    image = to_rgb(ten_bits(rgb, transfer=transfer), VideoReformatter(), size=(16, 16 * len(rgb)), rotation=0)
    return image[8, 8::16].astype(np.float64)


def test_pq_is_inverted() -> None:
    codes = np.linspace(0, 1, 100)
    assert np.allclose(pq_code(pq_light(codes)), codes, atol=1e-6)
    assert pq_light(np.array(1.0)) == pytest.approx(10_000)


@pytest.mark.parametrize("peak", [400.0, 1000.0, 4000.0, 10_000.0])
def test_tones_rise_to_white_and_the_dark_ones_stay(peak: float) -> None:
    light = np.geomspace(0.01, peak, 500)
    found = toned(light, peak=peak)
    assert np.all(np.diff(found) > 0)
    assert found[-1] == pytest.approx(WHITE)
    assert np.allclose(found[light < 20], light[light < 20], rtol=1e-6)
    assert np.all(found <= np.minimum(light, WHITE) * (1 + 1e-9))


def test_greys_in_pq_keep_their_light() -> None:
    light = np.array([0.1, 1, 5, 10, 20, 50])
    codes = np.repeat(pq_code(light)[:, None], 3, axis=1)
    found = shown(codes, transfer=PQ)
    assert np.abs(found - display(light)[:, None]).max() <= 1.5
    bright = shown(np.repeat(pq_code(np.array([203, 400, PEAK, 4000]))[:, None], 3, axis=1), transfer=PQ)
    assert np.all(np.diff(bright[:3, 0]) > 0)
    assert bright[2:].min() >= 254


def test_colours_of_bt709_in_pq_come_back() -> None:
    random = np.random.default_rng(0)
    light = random.uniform(0.5, 40, (40, 3))
    wide = light @ np.linalg.inv(np.array(TO_709[BT2020])).T
    assert np.abs(shown(pq_code(wide), transfer=PQ) - display(light)).max() <= 6  # of chroma at a quarter, in 10 bits
    assert np.abs(shown(pq_code(wide), transfer=PQ) - display(light)).mean() <= 1


def test_hlg_at_75_percent_is_diffuse_white() -> None:
    assert PEAK * hlg_scene(np.array(0.75)) ** 1.2 == pytest.approx(WHITE, rel=0.01)  # BT.2408 table 1
    (found,) = shown(np.full((1, 3), 0.75), transfer=HLG)
    assert np.abs(found - display(toned(np.array([WHITE]), peak=PEAK))).max() <= 2


def test_wide_primaries_keep_grey_and_clip_what_lies_outside() -> None:
    codes = np.array([[[32768] * 3, [65535, 0, 0], [0, 65535, 0]]], np.uint16)
    grey, red, green = mapped(codes, transfer=1, primaries=BT2020, peak=PEAK)[0].astype(int)
    assert np.abs(grey - 128).max() <= 1
    assert red.tolist() == [255, 0, 0]
    assert green.tolist() == [0, 255, 0]


def test_a_peak_is_the_default_without_metadata() -> None:
    assert peak_of(av.VideoFrame(16, 16, "yuv420p")) == PEAK


def test_luma_is_full_range_and_turned() -> None:
    frame = av.VideoFrame(32, 16, "yuv420p")
    for plane, value in zip(frame.planes, (16, 128, 128), strict=True):
        plane.update(np.full(plane.buffer_size, value, np.uint8).tobytes())
    frame.color_range = 1
    luma = to_luma(frame, VideoReformatter(), rotation=90)
    assert luma.shape == (32, 16)
    assert luma.max() == 0
