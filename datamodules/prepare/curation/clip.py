"""From one raw file to the samples it gives: a video becomes clips that cross no cut, an image one sample.

- The video is decoded once, small, to find the cuts and borders and to score it; what must be cut or converted is
  decoded again in full.
- A file that is one clip already, in H.264 4:2:0 8 bit at a constant rate without borders, is stored byte for byte.
- Everything else becomes H.264 with a short distance between key frames, at its own rate and, without `longest`, size.
- What is left out of a video that gives clips is told too, with a small picture of it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.prepare.curation import borders, fades, scores
from datamodules.prepare.curation.borders import Borders, Crop
from datamodules.prepare.curation.cuts import Cuts, Split, pieces, split
from datamodules.prepare.curation.look import Pass, Track, thumbnail
from datamodules.prepare.curation.sources import kind_of
from datamodules.prepare.curation.text import Text
from dit_video.errors import DataError
from dit_video.media.colour import to_luma
from dit_video.media.fit import cover
from dit_video.media.image import encode_image, header, read_image
from dit_video.media.probe import Limits, Probe, probe
from dit_video.media.read import fitted, frames, measured_fps, nearest, reader
from dit_video.media.write import write

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOK = 256  # longer side of the frames in which cuts are sought
STEADY = 0.3  # of a frame's time: largest jitter of a constant rate
MIXED = 0.1  # share of interlaced frames from which on a video counts as interlaced
MAX_FPS = 120.0
Encoded = tuple[bytes, dict[str, Any]]
"""An MP4 and its row of the index."""
PRESET = "veryfast"  # at equal size and crf 2.4 times as fast as medium (720p, measured)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How raw files become clips: the keys of `step=curate` that change what is stored."""

    max_seconds: float
    min_seconds: float
    crf: int
    limits: Limits = field(default_factory=Limits)
    longest: int | None = None
    cuts: Cuts = field(default_factory=Cuts)
    borders: Borders = field(default_factory=Borders)
    text: Text = field(default_factory=Text)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample before it has a key: its `media` bytes with their suffix, its `row` of the index, and its scores."""

    suffix: str
    media: bytes
    row: dict[str, Any]
    scores: dict[str, Any]

    def members(self, key: str) -> dict[str, Any]:
        """The sample as WebDataset writes it."""
        text = json.dumps({"key": key, **self.row}, ensure_ascii=False)
        return {"__key__": key, self.suffix: self.media, "json": text.encode()}


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A piece of a video that is in no clip, why, and a small JPEG of it."""

    reason: str
    start_seconds: float
    seconds: float
    thumbnail: bytes | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a raw file gives."""

    samples: list[Sample]
    dropped: list[Dropped]


def samples(path: Path, rules: Rules, fields: Mapping[str, Any]) -> Found:
    """All samples of a raw file, `fields` (source, caption) in each row; DataError where it cannot be used."""
    if not path.is_file():
        raise DataError(f"{path} is not a file that can be opened")
    if kind_of(path) == "image":
        return Found(samples=[image_sample(path, rules, fields)], dropped=[])
    return video_samples(path, rules, fields)


def first_picture(path: Path, rules: Rules) -> bytes | None:
    """A small JPEG of the first frame of a file that cannot be used, or None where it has none to show."""
    try:
        if not path.is_file():
            return None
        if kind_of(path) == "image":
            return thumbnail(read_image(path, limits=rules.limits))
        with reader(path, limits=rules.limits, longest=LOOK) as (_, found):
            return thumbnail(next(found).image)
    except (DataError, MemoryError, OSError, StopIteration):
        return None


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
    about = {**size, "fps": 0.0, "seconds": 0.0, "start_seconds": 0.0, **fields}
    return Sample(suffix=suffix, media=data, row=about, scores=scores.image_scores(image, text=rules.text))


def looked_at(path: Path, rules: Rules) -> tuple[Probe, Track]:
    """The header of a video, and what the first pass notes of its frames."""
    with reader(path, limits=rules.limits, longest=LOOK) as (seen, found):
        from av.video.reformatter import VideoReformatter

        noted, reformatter = (
            Pass(seconds=seen.seconds, text=rules.text, threshold=rules.cuts.threshold),
            VideoReformatter(),
        )
        for frame in found:
            if noted.see(frame.image, time=frame.time, interlaced=frame.decoded.interlaced_frame):
                noted.look(to_luma(frame.decoded, reformatter, rotation=seen.rotation), frame.image)
    return seen, noted.track


def video_samples(path: Path, rules: Rules, fields: Mapping[str, Any]) -> Found:
    """The clips of a video, in order, and what is in none; DataError where there is no clip."""
    seen, track = looked_at(path, rules)
    times = np.asarray(track.times)
    fps = min(measured_fps(times, header=seen.fps), MAX_FPS)
    lengths = {"fps": fps, "min_seconds": rules.min_seconds, "max_seconds": rules.max_seconds}
    parts = split(track.changes, np.stack(track.pictures), fps=fps, rules=rules.cuts)
    spans = [span for shot in parts.shots for span in pieces(shot, times, **lengths)]
    if not spans:
        raise DataError(f"{path} has no shot of min_seconds: all are under {rules.min_seconds:g} s")
    border = borders.find(track, rules=rules.borders)
    crop = border if rules.borders.crop else Crop()
    facts = source_facts(seen, track, times, fps)
    made: Iterable[Encoded]
    if spans == [(0, len(times))] and not crop and as_is(seen, facts, longest=rules.longest):
        size = {"kind": "video", "frames": len(times), "height": seen.height, "width": seen.width}
        made = [(path.read_bytes(), row(size, fps=fps, start=0.0, fields=fields))]
    else:
        weave = facts["interlaced"] > 0
        made = cut(path, spans, times, crop=crop, fps=fps, rules=rules, fields=fields, deinterlace=weave)
    found = []
    for span, (media, about) in zip(spans, made, strict=True):
        scored = scores.clip_scores(track, span, border, fps=fps, source=facts)
        found.append(Sample(suffix="mp4", media=media, row=about, scores=scored))
    return Found(samples=found, dropped=left_out(parts, spans, track, fps=fps))


def source_facts(seen: Probe, track: Track, times: NDArray[np.float64], fps: float) -> dict[str, float]:
    """How the file was, 0 or 1, and its rotation in degrees."""
    steady = len(times) == 1 or float(np.abs(np.diff(times) * fps - 1).max()) < STEADY
    return {
        "interlaced": float(track.interlaced > MIXED * len(times)),
        "variable": float(not steady),
        "rotation": float(seen.rotation),
        "hdr": float(seen.hdr),
        "full_range": float(seen.full_range),
    }


def left_out(parts: Split, spans: Sequence[tuple[int, int]], track: Track, *, fps: float) -> list[Dropped]:
    """The frames of a video that are in none of the spans, piece by piece."""
    kept = np.zeros(len(track), bool)
    for start, end in spans:
        kept[start:end] = True
    why = [(shot, "shorter than min_seconds: a shot") for shot in parts.shots if not kept[slice(*shot)].any()]
    why += [(shot, "shorter than min_seconds: the end of a shot") for shot in parts.shots if kept[slice(*shot)].any()]
    why += [(span, "a fade") for span in parts.fades] + [(span, "a dissolve") for span in parts.dissolves]
    found = []
    for (first, last), reason in sorted(why):
        for start, end in fades.runs(~kept[first:last]):
            piece = (first + start, first + end)
            seconds = track.times[piece[1] - 1] - track.times[piece[0]] + 1 / fps
            picture = scores.nearest_looks(track, piece, [0.5])[0].thumbnail
            begin = track.times[piece[0]]
            found.append(Dropped(reason=reason, start_seconds=begin, seconds=seconds, thumbnail=picture))
    return found


def row(size: Mapping[str, Any], *, fps: float, start: float, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A clip's row of the index, but for its place."""
    seconds = size["frames"] / fps
    return {**size, "fps": fps, "seconds": round(seconds, 6), "start_seconds": round(start, 6), **fields}


def as_is(seen: Probe, facts: Mapping[str, float], *, longest: int | None) -> bool:
    """Whether the file's bytes can be a member as they stand."""
    if longest is not None and max(seen.height, seen.width) > longest:
        return False
    plain = "mp4" in seen.container and seen.codec == "h264" and seen.pixel_format == "yuv420p" and not seen.wide
    return plain and seen.streams == 1 and not any(facts.values())


def cut(
    path: Path,
    spans: Sequence[tuple[int, int]],
    times: NDArray[np.float64],
    *,
    crop: Crop,
    fps: float,
    rules: Rules,
    fields: Mapping[str, Any],
    deinterlace: bool,
) -> Iterator[Encoded]:
    """Decode once more and encode each span of frames as a clip of constant rate."""
    longest = rules.longest and round(rules.longest / crop.kept())
    stream = enumerate(frames(path, limits=rules.limits, longest=longest, deinterlace=deinterlace))
    with tempfile.TemporaryDirectory(prefix="dit-video-") as folder:
        target = Path(folder) / "clip.mp4"
        for start, end in spans:
            count = max(1, round((times[end - 1] - times[start]) * fps) + 1)
            picks = nearest(times[start:end], fps=fps, start=float(times[start]), count=count) + start
            images = (image[crop.place(*image.shape[:2])] for image in pick(stream, picks))
            write(target, images, fps=fps, crf=rules.crf, gop=max(1, round(fps)), preset=PRESET)
            data = target.read_bytes()
            made = probe(data, limits=rules.limits)
            size = {"kind": "video", "frames": count, "height": made.height, "width": made.width}
            yield data, row(size, fps=fps, start=float(times[start]), fields=fields)


def pick(stream: Iterator[tuple[int, Any]], picks: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Images of a numbered stream by rising numbers; a number may repeat."""
    at, image = -1, np.empty(0, np.uint8)
    for wanted in picks:
        while at < wanted:
            at, frame = next(stream)
            image = frame.image
        yield image
