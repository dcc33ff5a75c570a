"""From one raw file to the samples it gives: a video becomes clips that cross no cut, an image one sample.

- The video is decoded once, small, to find the cuts; what must be cut or converted is decoded again in full.
- A file that is one clip already, in H.264 4:2:0 8 bit at a constant rate, is stored byte for byte.
- Everything else becomes H.264 with a short distance between key frames, at its own rate and, without `longest`, size.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.prepare.cuts import Scorer, pieces, shots
from dit_video.errors import DataError
from dit_video.media.fit import cover
from dit_video.media.image import encode_image, header, read_image
from dit_video.media.probe import Limits, Probe, probe
from dit_video.media.read import fitted, frames, measured_fps, nearest, reader
from dit_video.media.write import write

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"}
    | {".m2v", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".asf", ".ogv"}
    | {".3gp", ".ivf", ".gif", ".h264", ".hevc", ".y4m"}
)
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
LOOK = 256  # longer side of the frames in which cuts are sought
STEADY = 0.3  # of a frame's time: largest jitter of a constant rate
MAX_FPS = 120.0
PRESET = "veryfast"  # at equal size and crf 2.4 times as fast as medium (720p, measured)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How raw files become clips: the keys of `step=curate` that change what is stored."""

    max_seconds: float
    min_seconds: float
    cut_threshold: float
    crf: int
    limits: Limits
    longest: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample before it has a key: its `media` bytes with their suffix, and what the index says of it."""

    suffix: str
    media: bytes
    row: dict[str, Any]

    def members(self, key: str) -> dict[str, Any]:
        """The sample as WebDataset writes it."""
        text = json.dumps({"key": key, **self.row}, ensure_ascii=False)
        return {"__key__": key, self.suffix: self.media, "json": text.encode()}


def samples(path: Path, rules: Rules, fields: Mapping[str, Any]) -> list[Sample]:
    """All samples of a raw file, `fields` (source, caption) in each row; DataError where it cannot be used."""
    if path.suffix.lower() in IMAGES:
        return [image_sample(path, rules, fields)]
    found = list(video_samples(path, rules, fields))
    if not found:
        raise DataError(f"{path} has no shot of at least min_seconds={rules.min_seconds:g}")
    return found


def image_sample(path: Path, rules: Rules, fields: Mapping[str, Any]) -> Sample:
    """A still image; PNG and JPEG keep their bytes."""
    image, data = read_image(path, limits=rules.limits), path.read_bytes()
    suffix, _, _ = header(data)
    end = {"png": b"IEND", "jpg": b"\xff\xd9"}.get(suffix)
    if end is not None and end not in data[-65536:]:
        raise DataError(f"{path} is cut off")
    height, width = fitted(image.shape[:2], longest=rules.longest)
    if end is None or (height, width) != image.shape[:2]:
        image = cover(image, height, width)
        suffix, data = "png", encode_image(image)
    size = {"kind": "image", "frames": 1, "height": image.shape[0], "width": image.shape[1]}
    return Sample(suffix=suffix, media=data, row={**size, "fps": 0.0, "seconds": 0.0, "start_seconds": 0.0, **fields})


def video_samples(path: Path, rules: Rules, fields: Mapping[str, Any]) -> Iterator[Sample]:
    """The clips of a video, in order."""
    scorer, changes, stamps = Scorer(), [], []
    with reader(path, limits=rules.limits, longest=LOOK) as (seen, found):
        for frame in found:
            changes.append(scorer.change(frame.image))
            stamps.append(frame.time)
    times = np.asarray(stamps)
    fps = min(measured_fps(times, header=seen.fps), MAX_FPS)
    lengths = {"fps": fps, "min_seconds": rules.min_seconds, "max_seconds": rules.max_seconds}
    between = shots(changes, threshold=rules.cut_threshold)
    spans = [span for shot in between for span in pieces(shot, times, **lengths)]
    if spans == [(0, len(times))] and as_is(seen, times, fps, longest=rules.longest):
        size = {"kind": "video", "frames": len(times), "height": seen.height, "width": seen.width}
        yield Sample(suffix="mp4", media=path.read_bytes(), row=row(size, fps=fps, start=0.0, fields=fields))
    elif spans:
        yield from cut(path, spans, times, fps=fps, rules=rules, fields=fields)


def row(size: Mapping[str, Any], *, fps: float, start: float, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A clip's row of the index, but for its place."""
    seconds = size["frames"] / fps
    return {**size, "fps": fps, "seconds": round(seconds, 6), "start_seconds": round(start, 6), **fields}


def as_is(seen: Probe, times: NDArray[np.float64], fps: float, *, longest: int | None) -> bool:
    """Whether the file's bytes can be a member as they stand."""
    if longest is not None and max(seen.height, seen.width) > longest:
        return False
    plain = "mp4" in seen.container and seen.codec == "h264" and seen.pixel_format == "yuv420p"
    steady = len(times) == 1 or float(np.abs(np.diff(times) * fps - 1).max()) < STEADY
    return plain and steady and not seen.full_range and seen.rotation == 0 and seen.streams == 1


def cut(
    path: Path,
    spans: list[tuple[int, int]],
    times: NDArray[np.float64],
    *,
    fps: float,
    rules: Rules,
    fields: Mapping[str, Any],
) -> Iterator[Sample]:
    """Decode once more and encode each span of frames as a clip of constant rate."""
    stream = enumerate(frames(path, limits=rules.limits, longest=rules.longest))
    with tempfile.TemporaryDirectory(prefix="dit-video-") as folder:
        target = Path(folder) / "clip.mp4"
        for start, end in spans:
            count = max(1, round((times[end - 1] - times[start]) * fps) + 1)
            picks = nearest(times[start:end], fps=fps, start=float(times[start]), count=count) + start
            write(target, pick(stream, picks), fps=fps, crf=rules.crf, gop=max(1, round(fps)), preset=PRESET)
            data = target.read_bytes()
            made = probe(data, limits=rules.limits)
            size = {"kind": "video", "frames": count, "height": made.height, "width": made.width}
            about = row(size, fps=fps, start=float(times[start]), fields=fields)
            yield Sample(suffix="mp4", media=data, row=about)


def pick(stream: Iterator[tuple[int, Any]], picks: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Images of a numbered stream by rising numbers; a number may repeat."""
    at, image = -1, np.empty(0, np.uint8)
    for wanted in picks:
        while at < wanted:
            at, frame = next(stream)
            image = frame.image
        yield image
