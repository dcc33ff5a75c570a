"""Still images in and out as RGB arrays. The size is read from the header before anything is decoded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dit_video.errors import DataError
from dit_video.media.probe import Limits, label

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARKERS_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def load_bytes(source: Path | str | bytes) -> bytes:
    """The bytes of a source; DataError where the file cannot be read."""
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the image {source}: {getattr(error, 'strerror', error)}") from error


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width by the first frame header of a JPEG."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in MARKERS_WITHOUT_LENGTH:
            at += 2
        elif marker in FRAME_HEADERS:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return height, width
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    raise ValueError("no JPEG frame header")


def webp_size(data: bytes) -> tuple[int, int]:
    """Height and width by the header of a WebP, in any of its three forms."""
    form = data[12:16]
    if form == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if form == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return height & 0x3FFF, width & 0x3FFF


def header(data: bytes) -> tuple[str, int, int]:
    """Form (png, jpg, webp or bmp), height and width, without decoding; ValueError for anything else."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        width, height = struct.unpack(">II", data[16:24])
        return "png", height, width
    if data[:2] == b"\xff\xd8":
        return "jpg", *jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp", *webp_size(data)
    if data[:2] == b"BM":
        width, height = struct.unpack("<ii", data[18:26])
        return "bmp", abs(height), abs(width)
    raise ValueError("neither PNG, JPEG, WebP nor BMP")


def read_image(source: Path | str | bytes, *, limits: Limits = Limits()) -> NDArray[np.uint8]:  # noqa: B008
    """RGB uint8 (h, w, 3) of a path or bytes, turned as its EXIF says, without alpha; DataError if unreadable."""
    import cv2

    data = load_bytes(source)
    try:
        _, height, width = header(data)
    except (ValueError, struct.error, IndexError) as error:
        raise DataError(f"{label(source)} is not a readable image: {error}") from error
    if height < 1 or width < 1:
        raise DataError(f"{label(source)} is not a readable image: it has no size")
    if height * width > limits.pixels:
        raise DataError(f"{label(source)} exceeds a limit: {width}x{height}, at most {limits.pixels} pixels")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DataError(f"{label(source)} is not a readable image: {error.err}") from error
    if image is None:
        raise DataError(f"{label(source)} is a damaged image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_image(image: NDArray[np.uint8], *, form: str = "png") -> bytes:
    """RGB uint8 (h, w, 3) as the bytes of a PNG or JPEG."""
    import cv2

    done, data = cv2.imencode(f".{form}", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"cannot encode an image of {image.shape} as {form}")
    return data.tobytes()


def write_image(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write RGB uint8 (h, w, 3) by the suffix of `path`: .png, .jpg or .jpeg."""
    form = Path(path).suffix.lower().lstrip(".")
    if form not in {"png", "jpg", "jpeg"}:
        raise DataError(f"images are written as .png or .jpg, not {path}")
    Path(path).write_bytes(encode_image(image, form=form))
