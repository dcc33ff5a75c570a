"""What is asked of the trained model: prompts of seen and held-out combinations, pictures and clips to go on from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from datamodules.shapes.captions import describe
from datamodules.shapes.draw import draw, fits
from datamodules.shapes.scene import Scene, draw_scene
from dit_video.media.image import write_image
from dit_video.media.write import write
from dit_video.seeds import rng

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

SIZES = {"square": (32, 32), "wide": (32, 48), "tall": (48, 32)}  # height, width
FPS = 8.0
FRAMES = 9
GIVEN = 5  # frames of a clip that extension starts from
SECONDS = FRAMES / FPS
ABOUT = ("row", "truth", "held_out")


def scene(random: Generator, size: tuple[int, int], *, unseen: bool, moving: bool = False) -> Scene:
    """A scene with one thing that fits the frame for FRAMES frames."""
    while True:
        found = draw_scene(random, unseen=unseen)
        if moving and found.motion == "still":
            continue
        if fits(found, height=size[0], width=size[1], frames=FRAMES, fps=FPS):
            return found


def text_to_video(*, each: int, seed: int) -> list[dict[str, Any]]:
    """`each` prompts a size, half of them of held-out combinations."""
    lines = []
    for row, size in SIZES.items():
        for number in range(each):
            unseen = number % 2 == 1
            found = scene(rng(seed, "prompt", row, number), size, unseen=unseen)
            lines.append(_line(f"{row}_{number:03d}", row, found, size) | {"held_out": unseen})
    return lines


def conditioned(folder: Path, *, each: int, seed: int) -> list[dict[str, Any]]:
    """`each` pictures to start from, and clips to extend forward and backward; the given files are written."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    sizes = list(SIZES.values())
    for row in ("image_to_video", "forward", "backward"):
        for number in range(each):
            random = rng(seed, row, number)
            size = sizes[number % len(sizes)]
            found = scene(random, size, unseen=False, moving=row != "image_to_video")
            clip = draw(found, random, height=size[0], width=size[1], frames=FRAMES, fps=FPS)
            line = _line(f"{row}_{number:03d}", row, found, size)
            lines.append(line | _given(folder / line["name"].removesuffix(".mp4"), row, clip))
    return lines


def _given(stem: Path, row: str, clip: NDArray[np.uint8]) -> dict[str, Any]:
    if row == "image_to_video":
        write_image(stem.with_suffix(".png"), clip[0])
        return {"image": str(stem.with_suffix(".png"))}
    kept = clip[:GIVEN] if row == "forward" else clip[-GIVEN:]
    write(stem.with_suffix(".mp4"), kept, fps=FPS, crf=8)
    return {"video": str(stem.with_suffix(".mp4")), "extend": row, "seconds": (FRAMES - GIVEN) / FPS}


def _line(name: str, row: str, found: Scene, size: tuple[int, int]) -> dict[str, Any]:
    prompt = describe(found)
    return {
        "name": f"{name}.mp4",
        "row": row,
        "prompt": prompt,
        "truth": prompt,
        "size": f"{size[1]}x{size[0]}",
        "seconds": SECONDS,
        "held_out": False,
    }


def save(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write requests, one JSON a line; what the sampler is not asked stands under `about`."""
    asked = [{key: value for key, value in line.items() if key not in ABOUT} for line in lines]
    about = [{"about": {key: line[key] for key in ABOUT if key in line}} for line in lines]
    written = [json.dumps(one | other) + "\n" for one, other in zip(asked, about, strict=True)]
    path.write_text("".join(written), encoding="utf-8")


def load(path: Path) -> list[dict[str, Any]]:
    """The requests that `save` wrote."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line | line.pop("about") for line in lines]
