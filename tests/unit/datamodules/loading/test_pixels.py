from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.loading.pixels import available, clip
from dit_video.media.image import encode_image
from dit_video.media.write import write
from dit_video.shapes import VideoShape


@pytest.mark.parametrize(
    ("frames", "native", "fps", "expected"), [(24, 12, 12, 24), (60, 29.97, 12, 24), (50, 25, 24, 48), (1, 0, 12, 1)]
)
def test_available(frames: int, native: float, fps: float, expected: int) -> None:
    assert available(frames, native, fps) == expected


def test_frames_are_taken_by_time(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", (np.full((32, 32, 3), 10 * at, np.uint8) for at in range(24)), fps=24)
    data = (tmp_path / "a.mp4").read_bytes()
    shape = VideoShape(frames=5, height=32, width=32)
    for fps, start, expected in [
        (24, 0, range(5)),
        (12, 0, range(0, 10, 2)),
        (12, 3, range(6, 16, 2)),
        (8, 1, range(3, 18, 3)),
    ]:
        found = clip(data, "mp4", shape, fps=fps, start=start).mean((1, 2, 3))
        assert np.allclose(found, [10 * at for at in expected], atol=2)


def test_an_image_is_one_frame() -> None:
    data = encode_image(np.full((40, 40, 3), 7, np.uint8))
    assert clip(data, "png", VideoShape(frames=1, height=32, width=32), fps=12).shape == (1, 32, 32, 3)
