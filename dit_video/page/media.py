"""Videos and pictures inside a page: each file as a data URI, small ones enlarged by whole pixels."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from dit_video.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

TINY = 50  # pixels; shorter sides are tiny
TYPES = {".mp4": "video/mp4", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


@dataclass(frozen=True)
class Medium:
    """A video or picture of the page: its file's bytes as a data URI, and its own size in pixels."""

    uri: str
    height: int
    width: int
    moving: bool

    @classmethod
    def load(cls, path: Path | None) -> Medium | None:
        """A file, or None where it is missing, damaged or of another type."""
        if path is None or path.suffix.lower() not in TYPES or not path.is_file():
            return None
        from dit_video.media.image import read_image
        from dit_video.media.probe import probe

        kind = TYPES[path.suffix.lower()]
        try:
            if moving := kind == "video/mp4":
                seen = probe(path)
                height, width = seen.height, seen.width
            else:
                height, width = read_image(path).shape[:2]
        except DataError:
            return None
        return cls(f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}", height, width, moving)

    def shown(self, room: tuple[int, int]) -> tuple[int, int, bool]:
        """Width and height on the page, and whether pixels are enlarged, by a whole number."""
        least, most = min(self.height, self.width), max(self.height, self.width)
        times = max(1, min(room[0] // least, room[1] // most) if least < TINY else room[1] // most)
        if most * times <= room[1]:
            return self.width * times, self.height * times, times > 1
        less = room[1] / most
        return max(1, round(self.width * less)), max(1, round(self.height * less)), False

    def tag(self, label: str, room: tuple[int, int]) -> str:
        """The element that shows it."""
        width, height, enlarged = self.shown(room)
        look = f'width="{width}" height="{height}"{" class=pixel" if enlarged else ""}'
        if self.moving:
            return (
                f'<video src="{self.uri}" {look} autoplay loop muted playsinline aria-label="{escape(label)}"></video>'
            )
        return f'<img src="{self.uri}" {look} alt="{escape(label)}">'
