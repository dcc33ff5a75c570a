"""The quickstart on a folder of the user's own: the same stages, and held-out clips to start from and to go on from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.quickstart import captions, steps
from datamodules.quickstart.requests import save

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from datamodules.clips import ClipData
    from datamodules.quickstart.stages import Stages

FAMILY = "footage"
ROOM = 3  # the longest side kept, in sides of a square bucket: buckets are up to 4:1, which is 2
TOLD, SHOWN = 6, 4  # prompts, and clips to go on from


def footage(out: Path, stages: Stages, *, source: Path, captions_csv: Path | None, seed: int) -> dict[str, Any]:
    """Run all stages; there is no truth, so there are no figures beside those of the VAE and the stages."""
    data = out / "dataset"
    longest = ROOM * math.isqrt(int(steps.shape(FAMILY)["pixels"]))
    told = [f"captions_csv={captions_csv}"] if captions_csv else []
    stages.run(
        "curate",
        [*steps.PREPARE, "step=curate", f"source={source}", f"dataset={data}", f"longest={longest}", *told],
        reads=[source, *([captions_csv] if captions_csv else [])],
        makes=[data],
    )
    steps.train_vae(stages, out, family=FAMILY)
    captioned = any(row["source"] for row in captions.read(data))
    if captioned:
        steps.describe(stages, out, family=FAMILY)
    weights = ["datamodules.captions={dense: 0.95, source: 0.05}"] if captioned else []
    steps.encode(stages, out, family=FAMILY)
    steps.train_dit(stages, out, family=FAMILY, captioned=captioned, options=weights)
    rows = captions.read(data)
    captions.save(out, rows)
    save(out / "requests.jsonl", requests(out / "given", data, rows, seed=seed))
    steps.sample(stages, out)
    return {}


def requests(folder: Path, data: Path, rows: Sequence[dict[str, Any]], *, seed: int) -> list[dict[str, Any]]:
    """Prompts at the sizes of their clips; and held-out clips to start from, whose given files are written."""
    from datamodules.clips import ClipData

    clips = ClipData(dataset=str(data), workers=0, **steps.shape(FAMILY))
    texts = {row["key"]: str(row["dense"] or row["source"]) for row in rows}
    lines = told(clips, texts) + started(folder, clips, texts)
    return [line | {"seed": seed + number} for number, line in enumerate(lines)]


def told(clips: ClipData, texts: dict[str, str]) -> list[dict[str, Any]]:
    """One prompt of each text, a few of them; without any text one prompt that says nothing."""
    found: dict[str, dict[str, Any]] = {}
    for row in clips.chosen.rows.tolist():
        text, shape = texts[clips.index.key[row]], clips.loader.shape(row)
        seconds = shape.frames / clips.fps if shape.frames > 1 else 0.0
        line = {"row": "samples", "prompt": text, "size": f"{shape.width}x{shape.height}", "seconds": seconds}
        found.setdefault(text, line)
    return [line | {"name": f"sample_{number}.mp4"} for number, line in enumerate([*found.values()][:TOLD])]


def started(folder: Path, clips: ClipData, texts: dict[str, str]) -> list[dict[str, Any]]:
    """The first held-out clip of each source, as a picture to start from and as a video to go on from either way."""
    from dit_video.pipeline.generate import to_frames

    source = dict(zip(clips.index.key, clips.index.source, strict=True))
    firsts: dict[str, tuple[str, NDArray[np.uint8]]] = {}
    for batch in clips.validation(len(source)):
        for key, video in zip(batch.keys, batch.video, strict=True):
            if half(video.shape[1]):
                firsts.setdefault(source[key], (key, to_frames(video)))
    chosen = [firsts[name] for name in sorted(firsts)][:SHOWN]
    folder.mkdir(parents=True, exist_ok=True)
    return [
        line | {"name": f"{way}_{number}.mp4", "row": way, "prompt": texts[key], "size": size_of(frames)}
        for way in ("image_to_video", "forward", "backward")
        for number, (key, frames) in enumerate(chosen)
        for line in [given(folder / f"{way}_{number}", way, frames, fps=clips.fps)]
    ]


def half(frames: int) -> int:
    """How many frames of a clip are given when it is extended by the rest: about half, one and then fours; or 0."""
    return 1 + 4 * ((frames - 1) // 8) if frames > 8 else 0


def size_of(frames: NDArray[np.uint8]) -> str:
    """The size of frames (t, h, w, 3) as the sampler is told it."""
    return f"{frames.shape[2]}x{frames.shape[1]}"


def given(stem: Path, way: str, frames: NDArray[np.uint8], *, fps: float) -> dict[str, Any]:
    """Write what is given of a clip, and say so in the sampler's keys."""
    from dit_video.media.image import write_image
    from dit_video.media.write import write

    if way == "image_to_video":
        write_image(stem.with_suffix(".png"), frames[0])
        return {"image": str(stem.with_suffix(".png")), "seconds": len(frames) / fps}
    count = half(len(frames))
    write(stem.with_suffix(".mp4"), frames[:count] if way == "forward" else frames[-count:], fps=fps, crf=8)
    return {"video": str(stem.with_suffix(".mp4")), "extend": way, "seconds": (len(frames) - count) / fps}
