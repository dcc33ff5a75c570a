"""Writes the corpus as a user would have it: a folder of MP4s and PNGs, and CSVs of captions.

- `captions.csv` (file, caption): the short source caption of every file.
- `described.csv` (file, caption): full descriptions of a part of the files, what a recaptioner learns from.
- `truth.csv` (file, caption): full descriptions of all files, for judging alone; nothing trains on it.
- Each file is a pure function of (seed, number): any process may write it.
"""

from __future__ import annotations

import csv
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.shapes.captions import alt_text, describe
from datamodules.shapes.draw import draw, fits
from datamodules.shapes.scene import Scene, draw_scene
from dit_video import log
from dit_video.errors import ConfigError
from dit_video.seeds import rng

if TYPE_CHECKING:
    from numpy.random import Generator

SIZES = ((32, 32), (40, 40), (48, 48), (32, 48), (40, 60), (48, 32), (60, 40))  # height, width
RATES = (12.0, 15.0, 16.0)
SECONDS = (1.1, 2.0)
TWO = 0.08  # share of scenes with two things


def scene_of(random: Generator, *, image: bool) -> tuple[Scene, int, int, int, float]:
    """A scene that fits its frame, with height, width, frames and fps."""
    while True:
        things = 2 if random.random() < TWO else 1
        scene = draw_scene(random, image=image, things=things)
        height, width = SIZES[random.integers(len(SIZES))]
        fps = float(random.choice(RATES))
        frames = 1 if image else round(float(random.uniform(*SECONDS)) * fps) + 1
        if fits(scene, height=height, width=width, frames=frames, fps=fps):
            return scene, height, width, frames, fps


def write_one(number: int, *, out: Path, images: int, seed: int) -> tuple[str, str, str]:
    """Write file `number`; returns its name, source caption and description. The first `images` are stills."""
    from dit_video.media.image import write_image
    from dit_video.media.write import write

    random = rng(seed, "corpus", number)
    image = number < images
    scene, height, width, frames, fps = scene_of(random, image=image)
    video = draw(scene, random, height=height, width=width, frames=frames, fps=fps)
    name = f"{'images' if image else 'videos'}/{number:05d}.{'png' if image else 'mp4'}"
    if image:
        write_image(out / name, video[0])
    else:
        write(out / name, video, fps=fps, crf=8, preset="veryfast")
    return name, alt_text(scene, random), describe(scene)


def write_corpus(*, out: str, videos: int = 4000, images: int = 2500, described: float = 0.25, seed: int = 0) -> None:
    """Write the corpus into the folder `out`.

    Args:
        out: folder, made if missing.
        videos: number of clips.
        images: number of stills.
        described: share of files that `described.csv` holds.
        seed: of everything.
    """
    if videos < 1 or images < 0 or not 0 <= described <= 1:
        raise ConfigError("expected videos >= 1, images >= 0 and described within 0 and 1")
    folder = Path(out)
    for name in ("videos", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    work = partial(write_one, out=folder, images=images, seed=seed)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(work, range(videos + images), chunksize=32)
        rows = list(log.progress(found, what="corpus", total=videos + images, unit="file"))
    share = [row for number, row in enumerate(rows) if rng(seed, "described", number).random() < described]
    _write(folder / "captions.csv", [(name, short) for name, short, _ in rows])
    _write(folder / "described.csv", [(name, full) for name, _, full in share])
    _write(folder / "truth.csv", [(name, full) for name, _, full in rows])
    log.say(f"{videos} videos and {images} images in {folder}, {len(share)} of them described")


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "caption"))
        writer.writerows(rows)
