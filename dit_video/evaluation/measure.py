"""Every clip through every VAE: figures, latents, and a video of all of them side by side, in one pass over the clips.

A clip's frames go through all VAEs in step. Of them no more is kept than one VAE's piece, unless it takes clips whole.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from itertools import chain, repeat, tee
from typing import TYPE_CHECKING, Any

import numpy as np

from dit_video import log
from dit_video.errors import DataError
from dit_video.evaluation import fvd
from dit_video.evaluation.beside import beside
from dit_video.evaluation.figures import FIGURES, Pair
from dit_video.evaluation.latents import Channels, Spectrum
from dit_video.evaluation.overall import overall
from dit_video.evaluation.roundtrip import copies
from dit_video.media.image import write_image
from dit_video.media.write import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dit_video.evaluation.clips import Clip, Cut
    from dit_video.evaluation.lpips import LPIPS
    from dit_video.evaluation.roundtrip import Autoencoder

    Frame = NDArray[np.uint8]

FOLDER = "clips"
CRF = 12  # the pictures are looked at for small errors


@dataclass
class Subject:
    """A VAE that is evaluated, and what is known of it so far."""

    name: str
    vae: Autoencoder
    channels: Channels = field(default_factory=Channels)
    spectrum: Spectrum = field(default_factory=Spectrum)
    features: fvd.Features | None = None
    tile: int | None = None


@dataclass
class Watch:
    """One clip on its way through all VAEs."""

    clip: Clip
    cut: Cut
    subjects: Sequence[Subject]
    lpips: LPIPS | None
    originals: fvd.Features | None
    pairs: list[Pair] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)

    def rows(self) -> Iterator[tuple[Frame, list[Frame]]]:
        """Each frame with all its copies, counted in the figures."""
        self.pairs = [Pair() for _ in self.subjects]
        streams = [
            copies(subject.vae, frames, posterior=subject.channels.add, latent=subject.spectrum.add, tile=subject.tile)
            for subject, frames in zip(self.subjects, tee(self.clip.frames(self.cut), len(self.subjects)), strict=True)
        ]
        for row in zip(*streams, strict=True):
            frame, made = row[0][0], [copy for _, copy in row]
            self.size = (frame.shape[0], frame.shape[1])
            if self.originals:
                self.originals.add(frame)
            for subject, pair, copy in zip(self.subjects, self.pairs, made, strict=True):
                pair.add(frame, copy, lpips=self.lpips.of_frames(frame, copy) if self.lpips else None)
                if subject.features:
                    subject.features.add(copy)
            yield frame, made

    def features(self) -> list[fvd.Features]:
        """What gathers features of this clip."""
        every = (self.originals, *(subject.features for subject in self.subjects))
        return [features for features in every if features]


def measure(
    subjects: Sequence[Subject],
    clips: Sequence[Clip],
    cut: Cut,
    *,
    out: Path,
    lpips: LPIPS | None = None,
    originals: fvd.Features | None = None,
) -> dict[str, Any]:
    """What evaluation.json says of VAEs and clips; writes a video or picture of each clip into `out`.

    Args:
        subjects: the VAEs.
        clips: what they are given; those that cannot be decoded are left out by name.
        cut: how much of each.
        out: folder.
        lpips: where there are weights for it.
        originals: what gathers features of the videos themselves, where there is a network for FVD.
    """
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    damaged: list[dict[str, str]] = []
    total = sum(1 if clip.image else cut.count(clip.seconds, clip.fps) for clip in clips)
    ticks = log.progress(range(total), what="evaluating", total=total, unit="frame")
    for number, clip in enumerate(clips):
        watch = Watch(clip, cut, subjects, lpips, originals)
        name = f"{FOLDER}/{number:03d}-{plain(clip.name)}{'.png' if clip.image else '.mp4'}"
        try:
            show(watch, out / name, ticks)
            found.append(row_of(watch, name))
        except DataError as error:
            damaged.append({"name": clip.name, "reason": str(error)})
            (out / name).unlink(missing_ok=True)
        for features in watch.features():
            features.close()
    for _ in ticks:  # headers may promise more frames than there are
        pass
    if not found:
        raise DataError(f"no clip could be decoded: {damaged[0]['reason']}")
    whole = [about(subject, at, found, originals) for at, subject in enumerate(subjects)]
    return {"vaes": whole, "clips": found, "damaged": damaged}


def show(watch: Watch, path: Path, ticks: Iterator[int]) -> None:
    """Measure a clip while its video or picture is written; a tick is taken for each frame."""
    rows = (beside(frame, made) for (frame, made), _ in zip(watch.rows(), chain(ticks, repeat(0)), strict=False))
    if watch.clip.image:
        for row in rows:
            write_image(path, row)
    else:
        write(path, rows, fps=watch.cut.fps or watch.clip.fps, crf=CRF)


def row_of(watch: Watch, name: str) -> dict[str, Any]:
    """What evaluation.json says of a clip."""
    return {
        "name": watch.clip.name,
        "shown": name,
        "frames": watch.pairs[0].frames,
        "height": watch.size[0],
        "width": watch.size[1],
        "fps": 0.0 if watch.clip.image else watch.cut.fps or watch.clip.fps,
        "vaes": [pair.figures() | {"worst_frame": -pair.worst[1]} for pair in watch.pairs],
    }


def about(subject: Subject, at: int, rows: Sequence[dict[str, Any]], originals: fvd.Features | None) -> dict[str, Any]:
    """What evaluation.json says of a VAE over all clips."""
    figures = {name: overall([row["vaes"][at][name] for row in rows]) for name in FIGURES}
    distance = None
    if originals and subject.features and len(originals.rows) > 1:
        distance = {
            "value": fvd.distance(np.stack(originals.rows), np.stack(subject.features.rows)),
            "clips": len(originals.rows),
        }
    return {
        "name": subject.name,
        "figures": {name: asdict(value) if value else None for name, value in figures.items()},
        "fvd": distance,
        "channels": subject.channels.figures(),
        "spectrum": subject.spectrum.figures(),
    }


def plain(name: str) -> str:
    """A name as that of a file in one folder."""
    return re.sub(r"[^\w-]+", "-", name.rsplit(".", 1)[0]).strip("-")[-60:] or "clip"
