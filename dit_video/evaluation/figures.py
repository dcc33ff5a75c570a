"""Figures of a video and its copy, gathered frame by frame: nothing but the last frame and sums are kept.

- All of them are of the 8-bit frames that a viewer sees, so decoders that go beyond black and white gain nothing.
- psnr_db is of all pixels of the clip at once, ssim the mean of frames (Wang et al. 2004, a Gaussian of 11 pixels).
- motion: how far the change from frame to frame is off, |(copy' - copy) - (frame' - frame)|, in levels of 255.
- flicker: how much the copy changes where the video stands still, in levels of 255.
- detail: power of the copy's luma over the video's, beyond a quarter of a cycle a pixel: below 1 is blurred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]

STILL = 2  # levels of 255 by which the noise of a video moves a pixel that stands still
WINDOW, SIGMA = 11, 1.5  # pixels of SSIM's Gaussian; smaller frames have none
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709
FINE = 0.25  # cycles a pixel from which on there is detail


@dataclass(frozen=True)
class Figure:
    """What a figure is called, its unit, and whether more of it is better (None where 1 is best)."""

    name: str
    unit: str
    more: bool | None
    digits: int


FIGURES = {
    "psnr_db": Figure("PSNR", "dB", True, 2),
    "ssim": Figure("SSIM", "", True, 4),
    "lpips": Figure("LPIPS", "", False, 4),
    "motion": Figure("Motion error", "levels", False, 3),
    "flicker": Figure("Flicker", "levels", False, 3),
    "detail": Figure("Detail", "", None, 3),
}


def decibels(squared: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error in levels of 255; infinite for none."""
    return math.inf if squared == 0 else 10 * math.log10(255**2 / squared)


def psnr(a: Frame, b: Frame) -> float:
    """Peak signal-to-noise ratio in dB of uint8 arrays of one shape; infinite where they are equal."""
    return decibels(float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)))


def ssim(a: Frame, b: Frame) -> float:
    """Structural similarity of two frames (h, w, 3), at least 11 pixels a side, mirrored at their borders.

    It is torchmetrics', whose convolution takes six times as long as rows and columns one after the other.
    """
    import cv2

    kernel = cv2.getGaussianKernel(WINDOW, SIGMA, cv2.CV_32F)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.sepFilter2D(values, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101))

    x, y = a.astype(np.float32), b.astype(np.float32)
    mean_x, mean_y = mean(x), mean(y)
    spread = np.maximum(mean(x * x) - mean_x**2, 0) + np.maximum(mean(y * y) - mean_y**2, 0)
    shared = mean(x * y) - mean_x * mean_y
    light = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return float((light * (2 * shared + C2) / (spread + C2)).mean(dtype=np.float64))


def fine_power(frame: Frame) -> float:
    """Power of a frame's luma beyond `FINE` cycles a pixel."""
    light = frame.astype(np.float32) @ LUMA
    power = np.abs(np.fft.rfft2(light - light.mean())) ** 2
    rows, columns = np.fft.fftfreq(light.shape[0])[:, None], np.fft.rfftfreq(light.shape[1])[None]
    return float(power[np.hypot(rows, columns) > FINE].sum())


@dataclass
class Pair:
    """A video and its copy, frame by frame."""

    frames: int = 0
    pixels: int = 0
    squared: int = 0
    similar: list[float] = field(default_factory=list)
    moved: int = 0
    flickered: int = 0
    still: int = 0
    fine: tuple[float, float] = (0.0, 0.0)
    apart: list[float] = field(default_factory=list)
    worst: tuple[float, int] = (-1.0, 0)
    last: tuple[Frame, Frame] | None = None

    def add(self, frame: Frame, copy: Frame, *, lpips: float | None = None) -> None:
        """The next frame (h, w, 3) and its copy."""
        error = copy.astype(np.int32) - frame
        squared = int(np.square(error).sum())
        self.worst = max(self.worst, (squared / error.size, -self.frames))
        self.squared, self.pixels, self.frames = self.squared + squared, self.pixels + error.size, self.frames + 1
        if min(frame.shape[:2]) >= WINDOW:
            self.similar.append(ssim(frame, copy))
        if lpips is not None:
            self.apart.append(lpips)
        self.fine = (self.fine[0] + fine_power(frame), self.fine[1] + fine_power(copy))
        if self.last is not None:
            moved, wandered = frame.astype(np.int32) - self.last[0], copy.astype(np.int32) - self.last[1]
            stands = (np.abs(moved) <= STILL).all(-1)
            self.moved += int(np.abs(wandered - moved).sum())
            self.flickered += int(np.abs(wandered[stands]).sum())
            self.still += 3 * int(stands.sum())
        self.last = (frame, copy)

    def figures(self) -> dict[str, float | None]:
        """By the names of `FIGURES`; None for what a clip has not, such as motion in a picture."""
        changes = self.pixels // max(self.frames, 1) * (self.frames - 1)
        return {
            "psnr_db": decibels(self.squared / self.pixels),
            "ssim": float(np.mean(self.similar)) if self.similar else None,
            "lpips": float(np.mean(self.apart)) if self.apart else None,
            "motion": self.moved / changes if changes else None,
            "flicker": self.flickered / self.still if self.still else None,
            "detail": self.fine[1] / self.fine[0] if self.fine[0] else None,
        }
