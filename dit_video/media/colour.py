"""One decoded frame as 8-bit RGB for an ordinary display (BT.709 primaries, BT.1886 gamma), turned as it is shown.

- Colours are converted with the file's own matrix and range; where it names none, BT.709 from 720 lines up and BT.601
  below, as players do. swscale's own conversion at full size darkens by two levels of 255, so chroma is interpolated.
- High dynamic range (PQ and HLG, BT.2100) is mapped by the curve of BT.2390-10 section 5.4.1 on max(R, G, B), which
  keeps hues; white is 203 cd/m2 (BT.2408). The source's peak is that of its metadata, else 1000 cd/m2. swscale clips
  above white where there is no metadata, and zscale is not in PyAV's FFmpeg.
- Wide primaries (BT.2020, P3) become BT.709 in linear light; what lies outside is clipped (BT.2407 section 2).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dit_video.media.probe import HIGH_RANGE, UNSPECIFIED

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter
    from numpy.typing import NDArray

HD_LINES = 720
PQ, HLG = sorted(HIGH_RANGE)
WHITE = 203.0  # cd/m2 of diffuse white, and of the display's white
PEAK = 1000.0  # cd/m2 of a source that does not say
GAMMA = 2.4  # BT.1886
STEPS = 4096  # of the tables
TO_709 = {  # linear RGB of these primaries (codes of ISO 23091-2) to linear RGB of BT.709; 9: BT.2087 section 2
    9: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    11: ((1.1573, -0.1549, -0.0024), (-0.0415, 1.0456, -0.0040), (-0.0181, -0.0786, 1.0967)),  # DCI-P3
    12: ((1.2249, -0.2249, 0.0000), (-0.0420, 1.0421, 0.0000), (-0.0196, -0.0786, 1.0983)),  # Display P3
}
LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)  # BT.2020


def to_rgb(
    frame: VideoFrame, reformatter: VideoReformatter, *, size: tuple[int, int], rotation: int
) -> NDArray[np.uint8]:
    """`frame` as uint8 (h, w, 3) RGB of `size` (height, width) after turning it `rotation` degrees counterclockwise."""
    if frame.color_trc in HIGH_RANGE or frame.color_primaries in TO_709:
        codes = converted(frame, reformatter, size=size, rotation=rotation, form="gbrp16le")
        image = mapped(codes, transfer=frame.color_trc, primaries=frame.color_primaries, peak=peak_of(frame))
    else:
        image = np.asarray(converted(frame, reformatter, size=size, rotation=rotation, form="rgb24"), np.uint8)
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


class Constants(NamedTuple):
    """What swscale is asked for, as numbers: made once, since Python's enumerations take as long as a small frame."""

    scaling: int
    full: int
    hd: int
    sd: int


@cache
def constants() -> Constants:
    """Area averaging with chroma interpolated, full range, and the matrices of BT.709 and BT.601."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    scaling = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    return Constants(int(scaling), int(ColorRange.JPEG), int(Colorspace.ITU709), int(Colorspace.ITU601))


def converted(
    frame: VideoFrame, reformatter: VideoReformatter, *, size: tuple[int, int], rotation: int, form: str
) -> NDArray[np.generic]:
    """`frame` scaled to what is `size` once it is turned, in an RGB format, its transfer as it was.

    Of the formats of 16 bits swscale 9.5 makes wrong colours in rgb48le, right ones in gbrp16le.
    """
    height, width = (size[1], size[0]) if rotation % 180 else size
    way = constants()
    matrix = None
    if frame.colorspace in {0, UNSPECIFIED}:
        matrix = way.hd if frame.height >= HD_LINES else way.sd
    shown = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format=form,
        src_colorspace=matrix,
        dst_color_range=way.full,
        interpolation=way.scaling,
        threads=1,
    )
    return np.asarray(shown.to_ndarray())


def to_luma(frame: VideoFrame, reformatter: VideoReformatter, *, rotation: int) -> NDArray[np.uint8]:
    """Luma codes of `frame` in its own size, 0 black and 255 white, turned as it is shown."""
    from av.video.reformatter import ColorRange

    shown = reformatter.reformat(frame, format="gray", dst_color_range=ColorRange.JPEG, threads=1)
    return np.ascontiguousarray(np.rot90(np.asarray(shown.to_ndarray(), np.uint8), rotation // 90))


def peak_of(frame: VideoFrame) -> float:
    """Peak of the display that a frame was mastered on, in cd/m2 (AVMasteringDisplayMetadata), or `PEAK`."""
    for data in frame.side_data:
        if data.type.name == "MASTERING_DISPLAY_METADATA":
            numbers = np.frombuffer(bytes(data), np.int32)
            top, bottom, has_luminance = numbers[18], numbers[19], numbers[21]
            if has_luminance and bottom > 0 and WHITE < top / bottom <= 10_000:
                return float(top / bottom)
    return PEAK


def pq_light(code: NDArray[np.floating]) -> NDArray[np.floating]:
    """Light in cd/m2 of PQ codes 0 to 1: the EOTF of BT.2100 table 4."""
    power = code ** (1 / 78.84375)
    ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return np.asarray(10_000 * ratio ** (1 / 0.1593017578125))


def pq_code(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """PQ codes of light in cd/m2: the inverse of `pq_light`."""
    power = (light / 10_000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def hlg_scene(code: NDArray[np.floating]) -> NDArray[np.floating]:
    """Scene light 0 to 1 of HLG codes: the inverse OETF of BT.2100 table 5."""
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)


def toned(light: NDArray[np.floating], *, peak: float) -> NDArray[np.floating]:
    """Light in cd/m2 brought under `WHITE`: BT.2390-10 section 5.4.1, a straight line and then a Hermite spline."""
    whole = pq_code(np.asarray(peak))
    most = pq_code(np.asarray(WHITE)) / whole
    knee = 1.5 * most - 0.5
    code = np.minimum(pq_code(light) / whole, 1.0)
    place = (code - knee) / (1 - knee)
    square, cube = place**2, place**3
    spline = (2 * cube - 3 * square + 1) * knee + (cube - 2 * square + place) * (1 - knee)
    spline += (3 * square - 2 * cube) * most
    return pq_light(np.where(code < knee, code, spline) * whole)


@cache
def light_table(transfer: int) -> NDArray[np.float32]:
    """Light of `STEPS` codes: cd/m2 for PQ, scene light for HLG, else the light of a display with a white of 1."""
    code = np.linspace(0, 1, STEPS)
    light = {PQ: pq_light, HLG: hlg_scene}.get(transfer, lambda given: given**GAMMA)
    return np.asarray(light(code), np.float32)


@cache
def gain_table(peak: float) -> NDArray[np.float32]:
    """What light is multiplied by to be that of a display with a white of 1, by the fourth root of light / `peak`."""
    light = np.maximum(np.linspace(0, 1, STEPS) ** 4 * peak, 1e-6)
    return np.asarray(toned(light, peak=peak) / light / WHITE, np.float32)


@cache
def code_table() -> NDArray[np.uint8]:
    """Codes 0 to 255 of the square root of light 0 to 1, by the inverse of BT.1886."""
    return np.round(255 * np.linspace(0, 1, STEPS) ** (2 / GAMMA)).astype(np.uint8)


def mapped(codes: NDArray[np.generic], *, transfer: int, primaries: int, peak: float) -> NDArray[np.uint8]:
    """RGB codes uint16 (h, w, 3) of a transfer and primaries (ISO 23091-2) as RGB uint8 of an ordinary display."""
    import cv2

    light = light_table(transfer)[np.asarray(codes, np.uint16) >> 4]
    if transfer == HLG:
        peak = PEAK
        light *= peak * np.maximum(light @ LUMA, 1e-6)[..., None] ** 0.2  # the OOTF of BT.2100 table 5
    if transfer in HIGH_RANGE:
        most = np.clip(light.max(-1) / peak, 0, None)
        gain = gain_table(peak)[np.round(np.minimum(most, 1) ** 0.25 * (STEPS - 1)).astype(np.int64)]
        light *= (gain / np.maximum(most, 1))[..., None]
    if primaries in TO_709:
        light = cv2.transform(light, np.array(TO_709[primaries], np.float32))
    return code_table()[np.round(np.sqrt(np.clip(light, 0, 1)) * (STEPS - 1)).astype(np.int64)]
