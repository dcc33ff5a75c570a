"""Images: round trips, sizes from headers, limits, damage."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.media.image import encode_image, header, read_image, write_image
from dit_video.media.probe import Limits


def picture() -> np.ndarray:
    """A smooth 40x24 picture."""
    rows, columns = np.mgrid[0:24, 0:40]
    return np.stack([rows * 10, columns * 6, rows + columns], axis=-1).astype(np.uint8)


def test_png_is_lossless(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture())
    assert np.array_equal(read_image(tmp_path / "a.png"), picture())


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "bmp"])
def test_header_gives_the_size(form: str) -> None:
    data = cv2.imencode(f".{form}", picture())[1].tobytes()
    assert header(data) == (form, 24, 40)


def test_limits_and_damage() -> None:
    data = encode_image(picture())
    with pytest.raises(DataError, match="limit"):
        read_image(data, limits=Limits(pixels=24 * 39))
    for bad in (b"", data[:30], b"GIF89a" + bytes(50), b"\xff\xd8" + bytes(50)):
        with pytest.raises(DataError):
            read_image(bad)
    with pytest.raises(DataError, match="cannot read"):
        read_image(Path("absent.png"))
    with pytest.raises(DataError, match=r"\.png or \.jpg"):
        write_image("a.exr", picture())
