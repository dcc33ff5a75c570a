"""The raw files under a folder: which are videos or images, and with what captions. None vanishes silently.

- A file is media by its suffix, or by its first bytes where its suffix says nothing. All others are ignored, and named.
- Links to files are followed, also out of the folder; a link that leads nowhere is a source that cannot be opened.
  Links to folders are not followed, since they may go round in circles.
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dit_video import log
from dit_video.errors import DataError

VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"}
    | {".m2v", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".asf", ".ogv"}
    | {".3gp", ".ivf", ".gif", ".h264", ".hevc", ".y4m"}
)
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
IMAGE_BYTES = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP", re.DOTALL)
VIDEO_BYTES = re.compile(
    rb"....(ftyp|moov|mdat|wide|free|skip)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|OggS|\x30\x26\xb2\x75|GIF8[79]a"
    rb"|\x00\x00\x01[\xba\xb3]|DKIF|YUV4MPEG2|G.{187}G",
    re.DOTALL,
)
CAPTION_LIMIT = 2000  # characters


@dataclass(frozen=True, kw_only=True)
class Source:
    """A raw file: its path relative to the source folder, and its caption ("" for none)."""

    path: str
    caption: str

    @property
    def name(self) -> str:
        """The path as text that can be written, whatever its bytes."""
        return written(self.path)


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """A file or folder that is no source, and why."""

    path: str
    reason: str


def written(text: str) -> str:
    """Text as Unicode: bytes of a file name that are not UTF-8 become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def kind_of(path: Path) -> str | None:
    """Whether a file is a "video" or "image": by its first bytes, else by its suffix; None where neither knows it."""
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError:
        start = b""
    if IMAGE_BYTES.match(start):
        return "image"
    if VIDEO_BYTES.match(start):
        return "video"
    suffix = path.suffix.lower()
    return "image" if suffix in IMAGES else "video" if suffix in VIDEOS else None


def clean_caption(text: str) -> str:
    """A caption without control characters and runs of spaces, cut at a sane length."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+", " ", text).strip()[:CAPTION_LIMIT]


def read_captions(path: Path, folder: Path) -> dict[str, str]:
    """Captions by path relative to `folder`. `file` is relative to the CSV's folder, or to `folder`."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            if not {"file", "caption"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"{path} must have the columns file,caption; it has {','.join(reader.fieldnames or ())}"
                )
            rows = [(str(row["file"] or ""), str(row["caption"] or "")) for row in reader]
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot read captions_csv={path}: {error}") from error
    found, home, root = {}, path.parent.resolve(), folder.resolve()
    for name, caption in rows:
        place = Path(os.path.normpath(home / name))
        relative = place.relative_to(root).as_posix() if place.is_relative_to(root) else Path(name).as_posix()
        found[relative] = clean_caption(caption)
    return found


def listed(folder: Path) -> tuple[list[str], list[Ignored]]:
    """Paths of the media under `folder`, relative to it, by name; and what is no media."""
    media, ignored = [], []

    def unreadable(error: OSError) -> None:
        ignored.append(Ignored(path=relative(Path(error.filename)), reason="a folder that cannot be read"))

    def relative(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    for root, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(root)
        for name in [*folders]:
            hidden, link = name.startswith("."), (here / name).is_symlink()
            if hidden or link:
                folders.remove(name)
                reason = "hidden" if hidden else "a link to a folder"
                ignored.append(Ignored(path=relative(here / name), reason=reason))
        for name in files:
            path = here / name
            if name.startswith("."):
                ignored.append(Ignored(path=relative(path), reason="hidden"))
            elif path.suffix.lower() in VIDEOS | IMAGES or (path.is_file() and kind_of(path)):
                media.append(relative(path))
            else:
                ignored.append(Ignored(path=relative(path), reason="neither video nor image"))
    return sorted(media), sorted(ignored, key=lambda each: each.path)


def find_sources(folder: Path, captions_csv: Path | None) -> tuple[list[Source], list[Ignored]]:
    """Videos and images under `folder`, by name, and what is ignored; DataError where there is no media."""
    if not folder.is_dir():
        raise DataError(f"source={folder} is not a folder; give source=DIR with videos and images")
    paths, ignored = listed(folder)
    if not paths:
        raise DataError(
            f"source={folder} has no videos or images; expected files such as .mp4, .webm, .mov, .png, .jpg"
        )
    table = captions_csv if captions_csv is not None else folder / "captions.csv"
    captions = read_captions(table, folder) if captions_csv is not None or table.is_file() else {}
    if captions and not set(captions) & set(paths):
        log.get("dit_video.datamodules").warning(
            "%s names none of the files in %s; its file column is relative to the CSV or to source=", table, folder
        )
    ignored = [each for each in ignored if not same(folder / each.path, table)]
    return [Source(path=path, caption=captions.get(path, "")) for path in paths], ignored


def same(first: Path, second: Path) -> bool:
    """Whether both paths are one file."""
    return first.is_file() and second.is_file() and first.samefile(second)
