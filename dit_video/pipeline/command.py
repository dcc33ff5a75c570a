"""The command behind `sample.py`: settings in, MP4s out."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
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


LONGEST_SECONDS = 600
KEYS = ("prompt", "image", "video", "extend", "size", "seconds", "seed", "name")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One video that is asked for, as it stands on the command line or on a line of a file; `name` is the file's."""

    prompt: str
    image: str | None = None
    video: str | None = None
    extend: str | None = None
    size: str | None = None
    seconds: float = 1.0
    seed: int = 0
    name: str = ""


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
        prompts: instead, a file with a prompt a line, or a .jsonl file with an object a line that may have these same
            keys and a name; `out` is then a folder.
        image: the first frame.
        video: what to extend.
        extend: forward or backward, with `video`.
        size: WIDTHxHEIGHT; by default the bucket nearest to what is given, or the model's first.
        seconds: to make; 0 for an image.
        seed: of the noise.
        out: path of the MP4.
        vae: folder of the VAE's run, where it is not the one the latents were made with.
        ema: sample with the averaged weights.
        sampling: how.
    """
    folder = Path(checkpoint)
    recipe, stored = read_recipe(folder)
    if (prompt is None) == (prompts is None):
        raise RequestError("expected either prompt= or prompts=FILE")
    first = Job(
        prompt=prompt or "", image=image, video=video, extend=extend, size=size, seconds=seconds, seed=seed, name=out
    )
    jobs = [first] if prompts is None else read_jobs(Path(prompts), first)
    requests = [request_of(job, recipe) for job in jobs]
    for request in requests:
        request.check(recipe)
    log.say(f"{len(requests)} video(s) with {checkpoint}, {sampling.steps} steps, guidance {sampling.guidance:g}")
    models = load(folder, vae=vae or stored, recipe=recipe, ema=ema)
    paths = [Path(job.name) if prompts is None else Path(out) / job.name for job in jobs]
    for path, frames in zip(paths, _make(requests, models, sampling), strict=True):
        _write(path, frames, fps=recipe.fps)
    log.say(f"written: {out}")


def read_jobs(file: Path, first: Job) -> list[Job]:
    """Jobs of a file of prompts, each like `first` where its line says nothing else."""
    if not file.is_file():
        raise RequestError(f"prompts={file} is no file; expected one prompt a line, or a .jsonl file")
    jobs = []
    for number, line in enumerate(filter(None, map(str.strip, file.read_text(encoding="utf-8").splitlines()))):
        keys = _keys(file, number, line) if file.suffix == ".jsonl" else {"prompt": line}
        mine: dict[str, Any] = {"name": f"{number:05d}.mp4", "seed": first.seed + number} | {
            k: keys[k] for k in KEYS if k in keys
        }
        if "prompt" not in mine:
            raise RequestError(f"prompts={file}: line {number + 1} has no prompt")
        jobs.append(replace(first, **mine))
    if not jobs:
        raise RequestError(f"prompts={file} is empty; expected one prompt a line")
    return jobs


def _keys(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        keys = json.loads(line)
    except json.JSONDecodeError:
        keys = None
    if not isinstance(keys, dict):
        raise RequestError(f'prompts={file}: line {number + 1} is no JSON object; expected {{"prompt": "...", ...}}')
    return keys


def request_of(job: Job, recipe: Recipe) -> Request:
    """The job as a request: given files read, and brought to a size and rate of the model."""
    if not math.isfinite(job.seconds) or not 0 <= job.seconds <= LONGEST_SECONDS:
        raise RequestError(f"seconds={job.seconds} makes no frame or too many; expected 0 to {LONGEST_SECONDS}")
    given = _given(job)
    height, width = _size(job.size, recipe, given)
    start, end = _ends(given, job.extend, height, width, recipe.fps)
    frames = max(1, round(job.seconds * recipe.fps)) - (1 if job.image else 0)
    if job.seconds < 0 or frames < 1:
        raise RequestError(f"seconds={job.seconds:g} makes no frame at {recipe.fps:g} fps; raise seconds=")
    return Request(prompt=job.prompt, height=height, width=width, frames=frames, seed=job.seed, start=start, end=end)


def read_recipe(run: Path) -> tuple[Recipe, str]:
    """What a DiT's run was trained on, and the folder of its VAE; CheckpointError where the run is none of a DiT."""
    file = run / "recipe.json"
    if not file.is_file():
        where = "has no recipe.json, so it is no run of a DiT" if run.is_dir() else "does not exist"
        raise CheckpointError(f"checkpoint={run} {where}; expected outputs/runs/NAME of a DiT")
    about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    shapes = [tuple(map(int, text.split("x"))) for text in about["table"]]
    buckets = tuple(VideoShape(frames=f, height=h, width=w) for f, h, w in shapes)
    return Recipe(buckets=buckets, fps=float(about["fps"]), compression=Compression(**about["compression"])), str(
        about["vae"]
    )


def load(run: Path, *, vae: str, recipe: Recipe, ema: bool) -> Models:
    """The models of a DiT's run."""
    from dit_video.pipeline.generate import Models
    from dit_video.pipeline.load import load_dit, load_vae

    dit, text = load_dit(run, ema=ema)
    coder = load_vae(vae)
    if coder.compression != recipe.compression:
        raise CheckpointError(f"vae={vae} compresses by {coder.compression}; this DiT needs {recipe.compression}")
    return Models(coder, dit, text, recipe)


def _given(job: Job) -> tuple[Frames, float] | None:
    """Frames that are given and their rate (0 for an image); RequestError for keys that contradict each other."""
    from dit_video.media.image import read_image
    from dit_video.media.read import read

    if job.image is not None and job.video is not None:
        raise RequestError("image= and video= are both given; expected one of them")
    if (job.video is None) != (job.extend is None):
        raise RequestError("video= and extend=forward|backward go together; one of them is missing")
    if job.extend not in {None, "forward", "backward"}:
        raise RequestError(f"extend={job.extend} is unknown; expected forward or backward")
    if job.image is not None:
        return read_image(job.image)[None], 0.0
    if job.video is not None:
        found = read(job.video)
        return found.frames, found.fps
    return None


def _size(size: str | None, recipe: Recipe, given: tuple[Frames, float] | None) -> tuple[int, int]:
    if size is not None:
        height, width = parse_size(size)
        recipe.longest(height, width)
        return height, width
    sizes = sorted({(bucket.height, bucket.width) for bucket in recipe.buckets}, key=lambda hw: -hw[0] * hw[1])
    if given is None:
        return sizes[0]
    aspect = given[0].shape[2] / given[0].shape[1]
    return min(sizes, key=lambda hw: (round(abs(math.log(hw[1] / hw[0] / aspect)), 3), -hw[0] * hw[1]))


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


def _write(path: Path, frames: Frames, *, fps: float) -> None:
    """Write an MP4, or a picture where the name says so."""
    from dit_video.media.image import write_image
    from dit_video.media.write import write

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
        write_image(path, frames[0])
    else:
        write(path, frames, fps=fps)
