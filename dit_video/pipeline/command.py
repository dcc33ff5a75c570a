"""The command behind `sample.py`: settings in, MP4s out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video import log
from dit_video.errors import CheckpointError, RequestError
from dit_video.pipeline.request import Recipe, Request, parse_size
from dit_video.shapes import Compression, VideoShape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dit_video.pipeline.denoise import Sampling
    from dit_video.pipeline.generate import Models

    Frames = NDArray[np.uint8]


def sample(
    *,
    checkpoint: str,
    prompt: str | None,
    prompts: str | None,
    image: str | None,
    video: str | None,
    extend: str | None,
    size: str | None,
    seconds: float,
    seed: int,
    out: str,
    vae: str | None,
    ema: bool,
    sampling: Sampling,
) -> None:
    """Make one video, or one for each line of a file of prompts.

    Args:
        checkpoint: folder of the DiT's run.
        prompt: what to show.
        prompts: a file of prompts, one a line, instead; `out` is then a folder.
        image: the first frame.
        video: what to extend.
        extend: forward or backward, with `video`.
        size: WIDTHxHEIGHT; by default the bucket nearest to what is given, or the model's first.
        seconds: to make.
        seed: of the noise.
        out: path of the MP4.
        vae: folder of the VAE's run, where it is not the one the latents were made with.
        ema: sample with the averaged weights.
        sampling: how.
    """
    folder = Path(checkpoint)
    recipe, stored = read_recipe(folder)
    given = _given(image, video, extend)
    height, width = _size(size, recipe, given)
    frames = 1 if seconds == 0 else max(1, round(seconds * recipe.fps)) - (1 if image else 0)
    texts = _texts(prompt, prompts)
    requests = []
    for number, text in enumerate(texts):
        start, end = _ends(given, extend, height, width, recipe.fps)
        requests.append(
            Request(
                prompt=text, height=height, width=width, frames=max(frames, 1), seed=seed + number, start=start, end=end
            )
        )
    for request in requests:
        request.check(recipe)
    log.say(f"{len(requests)} video(s) of {frames} frames, {width}x{height} at {recipe.fps:g} fps, from {checkpoint}")
    models = load(folder, vae=vae or stored, recipe=recipe, ema=ema)
    _write(_make(requests, models, sampling), out=Path(out), many=prompts is not None, fps=recipe.fps)


def read_recipe(run: Path) -> tuple[Recipe, str]:
    """What a DiT's run was trained on, and the folder of its VAE; CheckpointError where the run is none of a DiT."""
    file = run / "recipe.json"
    if not file.is_file():
        where = "has no recipe.json, so it is no run of a DiT" if run.is_dir() else "does not exist"
        raise CheckpointError(f"checkpoint={run} {where}; expected outputs/runs/NAME of a DiT")
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    shapes = [tuple(map(int, text.split("x"))) for text in about["table"]]
    buckets = tuple(VideoShape(frames=f, height=h, width=w) for f, h, w in shapes)
    return Recipe(buckets=buckets, fps=float(about["fps"]), compression=Compression(**about["compression"])), str(about["vae"])


def load(run: Path, *, vae: str, recipe: Recipe, ema: bool) -> Models:
    """The models of a DiT's run."""
    from dit_video.pipeline.generate import Models
    from dit_video.pipeline.load import load_dit, load_vae

    dit, text = load_dit(run, ema=ema)
    coder = load_vae(vae)
    if coder.compression != recipe.compression:
        raise CheckpointError(f"vae={vae} compresses by {coder.compression}; this DiT needs {recipe.compression}")
    return Models(coder, dit, text, recipe)


def _texts(prompt: str | None, prompts: str | None) -> list[str]:
    if (prompt is None) == (prompts is None):
        raise RequestError("expected either prompt= or prompts=FILE")
    if prompt is not None:
        return [str(prompt)]
    file = Path(str(prompts))
    if not file.is_file():
        raise RequestError(f"prompts={prompts} is no file; expected one prompt a line")
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    if not any(lines):
        raise RequestError(f"prompts={prompts} is empty; expected one prompt a line")
    return [line for line in lines if line]


def _given(image: str | None, video: str | None, extend: str | None) -> tuple[Frames, float] | None:
    """Frames that are given and their rate (0 for an image); RequestError for keys that contradict each other."""
    from dit_video.media.image import read_image
    from dit_video.media.read import read

    if image is not None and video is not None:
        raise RequestError("image= and video= are both given; expected one of them")
    if (video is None) != (extend is None):
        raise RequestError("video= and extend=forward|backward go together; one of them is missing")
    if extend not in {None, "forward", "backward"}:
        raise RequestError(f"extend={extend} is unknown; expected forward or backward")
    if image is not None:
        return read_image(image)[None], 0.0
    if video is not None:
        found = read(video)
        return found.frames, found.fps
    return None


def _size(size: str | None, recipe: Recipe, given: tuple[Frames, float] | None) -> tuple[int, int]:
    if size is not None:
        height, width = parse_size(size)
        recipe.longest(height, width)
        return height, width
    sizes = sorted({(bucket.height, bucket.width) for bucket in recipe.buckets})
    if given is None:
        return sizes[0]
    aspect = given[0].shape[2] / given[0].shape[1]
    return min(sizes, key=lambda hw: abs(hw[1] / hw[0] / aspect - 1))


def _ends(
    given: tuple[Frames, float] | None, extend: str | None, height: int, width: int, fps: float
) -> tuple[Frames | None, Frames | None]:
    """Given frames at the model's size and rate, as what comes before and what comes after."""
    import numpy as np

    from dit_video.media.fit import at_rate, cover

    if given is None:
        return None, None
    frames, rate = given
    picked = frames if rate == 0 else at_rate(frames, native=rate, fps=fps)
    fitted = np.stack([cover(frame, height, width) for frame in picked])
    return (None, fitted) if extend == "backward" else (fitted, None)


def _make(requests: list[Request], models: Models, sampling: Sampling) -> list[Frames]:
    from tqdm import tqdm

    from dit_video.pipeline.generate import generate

    with tqdm(total=len(requests), desc="sampling", unit="video") as line:
        return generate(requests, models=models, sampling=sampling, seen=line.update)


def _write(videos: list[Frames], *, out: Path, many: bool, fps: float) -> None:
    from dit_video.media.image import write_image
    from dit_video.media.write import write

    out.parent.mkdir(parents=True, exist_ok=True)
    if many:
        out.mkdir(parents=True, exist_ok=True)
    for number, frames in enumerate(videos):
        path = out / f"{number:04d}.mp4" if many else out
        if path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
            write_image(path, frames[0])
        else:
            write(path, frames, fps=fps)
    log.say(f"written: {out}")
