"""Small pictures of samples: a few frames of each side by side in one WebP, so that a clip moves under the pointer.

Sections ask for tiles first; all of them are then read and decoded at once, each picture once, however often it is
shown. Every read is checked against the index's hash, so that a report also says which of its samples are damaged.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from datamodules.files import storage
from datamodules.files.shards import Shards
from datamodules.report.figures import span
from dit_video.errors import DataError
from dit_video.media.fit import cover
from dit_video.media.image import read_image
from dit_video.media.read import pick
from dit_video.page.plots import short

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.report.tables import Dataset

    Size = tuple[int, int]

FRAMES = 4  # of a clip
TALL, WIDEST = 108, 256  # pixels of a picture
LEAST = 64  # pixels of a figure, for its caption
SHOWN = 0.84  # of these on the page, so that they stay sharp on dense displays
QUALITY = 62
THREADS = 8


@dataclass(frozen=True)
class Picture:
    """What is shown of a row: scaled to (height, width), or with `crop` the middle of it in its own pixels."""

    row: int
    height: int
    width: int
    crop: bool = False


@dataclass
class Thumbs:
    """The pictures of a page: `asked` by their place in its style, `failed` with what kept them away."""

    dataset: Dataset
    there: bool = True
    asked: dict[Picture, int] = field(default_factory=dict)
    given: dict[int, bytes] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def tile(self, row: int, caption: str = "", *, crop: bool = False, aspect: float | None = None) -> str:
        """A figure of a row over a `caption` (HTML); `aspect` crops it to that width over height."""
        if not self.there:
            return ""
        height, width = (int(self.dataset.numbers[side][row]) for side in ("height", "width"))
        picture = Picture(row, *size_of(height, width, aspect=aspect, crop=crop), crop=crop)
        number = self.asked.setdefault(picture, len(self.asked))
        frames = 1 if self.dataset.image[row] else FRAMES
        return figure(number, (picture.height, picture.width), caption, about=self.about(row), frames=frames)

    def about(self, row: int) -> list[str]:
        """What a row is, line by line."""
        found = self.dataset
        height, width, fps = (found.numbers[name][row] for name in ("height", "width", "fps"))
        size = f"{width:.0f} × {height:.0f}"
        moving = "" if found.image[row] else f", {short(float(fps))} fps, {span(float(found.seconds[row]))}"
        start = found.numbers["start_seconds"][row]
        since = f" from {span(float(start))}" if np.isfinite(start) and start > 0 else ""
        lines = [found.texts["key"][row], f"{found.texts['source'][row]}{since}", f"{size}{moving}"]
        return [*lines, found.texts["caption"][row] or ""]

    def picture(self, data: bytes, caption: str, *, about: Sequence[str]) -> str:
        """A figure of a picture that is at hand; "" where it cannot be read."""
        try:
            image = read_image(data)
        except DataError:
            return ""
        size = size_of(*image.shape[:2])
        number = len(self.asked)
        self.asked[Picture(-1 - number, *size)] = number
        self.given[number] = webp([cover(image, *size)])
        return figure(number, size, caption, about=about, frames=1)

    def made(self) -> Iterator[str]:
        """Read and decode what was asked for: a rule of style for each picture, as they are done."""

        def data_of(item: tuple[Picture, int]) -> bytes:
            picture, number = item
            try:
                with closing(Shards()) as shards:  # the files that one keeps open are no two threads' to share
                    return self.given.get(number) or webp(self.frames(shards, picture))
            except DataError as error:
                self.failed[picture.row] = str(error)
                return b""

        with ThreadPoolExecutor(THREADS) as pool:
            for number, data in enumerate(pool.map(data_of, self.asked.items())):
                shown = f"background-image:url(data:image/webp;base64,{b64encode(data).decode()})"
                yield f".p{number} i{{{shown}}}" if data else f'.p{number} i::after{{content:"cannot be read"}}'

    def frames(self, shards: Shards, picture: Picture) -> list[NDArray[np.uint8]]:
        """The frames of a picture; DataError where they cannot be had."""
        found, row = self.dataset, picture.row
        data = shards.read(
            storage.join(found.folder, "clips", f"{int(found.numbers['shard'][row]):06d}.tar"),
            offset=int(found.numbers["media_offset"][row]),
            size=int(found.numbers["media_size"][row]),
            sha256=found.sha256(row),
        )
        if found.image[row]:
            return [fitted(read_image(data), picture)]
        rate = FRAMES / max(float(found.seconds[row]), 1e-3)
        images = pick(data, fps=rate, start=0.5 / rate, count=FRAMES)
        return [fitted(image, picture) for image in images]


def size_of(height: int, width: int, *, aspect: float | None = None, crop: bool = False) -> Size:
    """Height and width of the picture of a sample of this size."""
    shape = width / height if aspect is None else aspect
    if crop:
        size = min(TALL, height), min(round(TALL * 16 / 9), width)
        times = enlarged(*size)
        return size[0] * times, size[1] * times
    wide = min(max(round(TALL * shape), TALL // 3), WIDEST)
    return (TALL, wide) if wide < WIDEST else (max(TALL // 3, min(TALL, round(wide / shape))), wide)


def enlarged(height: int, width: int) -> int:
    """How many times the pixels of a tiny picture are repeated."""
    return max(1, min(TALL // height, WIDEST // width))


def fitted(image: NDArray[np.uint8], picture: Picture) -> NDArray[np.uint8]:
    """An image as its picture: cropped in the middle, or scaled and cropped to its shape."""
    if not picture.crop:
        return cover(image, picture.height, picture.width)
    times = enlarged(min(TALL, image.shape[0]), min(round(TALL * 16 / 9), image.shape[1]))
    height, width = picture.height // times, picture.width // times
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width].repeat(times, 0).repeat(times, 1)


def webp(images: Sequence[NDArray[np.uint8]]) -> bytes:
    """Images of one size side by side."""
    import cv2

    whole = np.concatenate(images, axis=1)
    done, data = cv2.imencode(".webp", cv2.cvtColor(whole, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    assert done, whole.shape
    return bytes(data)


def figure(number: int, size: Size, caption: str, *, about: Sequence[str], frames: int) -> str:
    """The element that shows picture `number`; `about` appears under the pointer."""
    height, width = (round(SHOWN * side) for side in size)
    lines = "".join(f"<span>{escape(line)}</span>" for line in about if line)
    said = escape(", ".join(line for line in about if line))
    return (
        f'<figure class="tile p{number}{" moves" if frames > 1 else ""}" style="width:{max(width, LEAST)}px">'
        f'<i role="img" aria-label="{said}" style="width:{width}px;height:{height}px"></i>'
        f'{f"<figcaption>{caption}</figcaption>" if caption else ""}<div class="about">{lines}</div></figure>'
    )


def sheet(tiles: Sequence[str]) -> str:
    """Tiles in rows; "" for none."""
    tiles = [tile for tile in tiles if tile]
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""
