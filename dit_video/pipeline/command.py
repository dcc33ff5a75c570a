"""The command behind `sample.py`: settings in, MP4s out."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dit_video import log
from dit_video.errors import RequestError
from dit_video.pipeline import outputs
from dit_video.pipeline.jobs import Job, read_jobs
from dit_video.pipeline.recipe import Recipe, read_recipe
from dit_video.pipeline.request import Request, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dit_video.pipeline.denoise import Sampling

LONGEST_SECONDS = 600


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
    out: str | None,
    vae: str | None,
    precision: str,
    tile: int | None,
    ema: bool,
    device: str,
    sampling: Sampling,
) -> None:
    """Make one video, or one for each line of a file of prompts.

    Mistakes are said before the first video is made, and each is written as soon as it is finished. The same command
    makes them all anew, over the ones that stand.

    Args:
        checkpoint: folder of the DiT's run, or of one of its checkpoints.
        prompt: what to show.
        prompts: instead, a file with a prompt a line, or a .jsonl file with an object a line: the prompt, and what
            differs of image, video, extend, size, seconds and seed; name, its file; and about, which is not read.
        image: the first frame.
        video: what to extend.
        extend: forward or backward, with `video`.
        size: WIDTHxHEIGHT; by default the bucket nearest to what is given, or the model's largest.
        seconds: to make, counting the first image but not the video that is extended; 0 for an image.
        seed: of the noise; counted up line by line.
        out: an .mp4, .png or .jpg file; with `prompts` a folder.
        vae: where the VAE lies, if it is not found: the one the latents were made with, and no other.
        precision: what a VAE of diffusers computes in: float32, bfloat16 or float16.
        tile: pixels a side of the tiles that it cuts larger frames into, to save memory.
        ema: sample with the averaged weights.
        device: auto, cpu, cuda, ...
        sampling: how: steps, solver, guidance, shift, lead.
    """
    jobs, paths = asked(
        checkpoint=checkpoint,
        prompt=prompt,
        prompts=prompts,
        image=image,
        video=video,
        extend=extend,
        size=size,
        seconds=seconds,
        seed=seed,
        out=out,
    )
    run = Path(checkpoint)
    recipe, coder = read_recipe(run)
    from dit_video.pipeline.generate import Models, generate
    from dit_video.pipeline.load import device_of, load_dit

    place = device_of(device)
    vae_model = coder.load(vae, precision=precision, tile=tile).to(place)
    dit, text = load_dit(run, ema=ema)
    models = Models(vae_model, dit.to(place), text.to(place), recipe)
    log.say(f"{len(jobs)} video(s) with {checkpoint}, {sampling.steps} steps, guidance {sampling.guidance:g}")
    videos = generate((request_of(job, recipe) for job in jobs), models=models, sampling=sampling)
    for path, frames in zip(paths, log.progress(videos, what="sampling", total=len(jobs), unit="video"), strict=True):
        outputs.save(path, frames, fps=recipe.fps)
    log.say(f"written: {paths[0] if prompts is None else out}")


def asked(
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
    out: str | None,
) -> tuple[list[Job], list[Path]]:
    """What is to be made of the settings of `sample`, and where, all of it checked; needs no torch."""
    recipe, _ = read_recipe(Path(checkpoint))
    first = Job(prompt=prompt or "", image=image, video=video, extend=extend, size=size, seconds=seconds, seed=seed)
    if (prompt is None) == (prompts is None):
        raise RequestError("expected either prompt= or prompts=FILE")
    if prompts is None:
        jobs, paths = [first], [Path(out or f"outputs/sample{'.mp4' if seconds else '.png'}")]
    else:
        jobs = read_jobs(Path(prompts), first)
        paths = outputs.in_folder(jobs, Path(out or "outputs/samples"))
    check(jobs, paths, recipe)
    return jobs, paths


def check(jobs: Sequence[Job], paths: Sequence[Path], recipe: Recipe) -> None:
    """Hold all that is asked against the recipe and the disk, before anything is made."""
    for job, path in zip(jobs, paths, strict=True):
        with job.blamed():
            request = request_of(job, recipe)
            request.check(recipe)
            outputs.check(path, frames=request.total, key="name" if job.place else "out")
    for job, path in zip(jobs, paths, strict=True):
        with job.blamed():
            outputs.prepare(path)


def request_of(job: Job, recipe: Recipe) -> Request:
    """The job as a request: given files read, and brought to a size and rate of the model."""
    _agree(job)
    frames = round(job.seconds * recipe.fps) - (1 if job.image else 0) if job.seconds else 1
    if frames < 1:
        raise RequestError(f"seconds={job.seconds:g} makes no frame at {recipe.fps:g} fps; raise seconds=")
    given = _given(job, recipe)
    start, end = (None, given) if job.extend == "backward" else (given, None)
    height, width = _size(job, recipe) if given is None else given.shape[1:3]
    return Request(prompt=job.prompt, height=height, width=width, frames=frames, seed=job.seed, start=start, end=end)


def _given(job: Job, recipe: Recipe) -> NDArray[np.uint8] | None:
    """The frames that are given, at the model's size and rate."""
    if job.image is None and job.video is None:
        return None
    from dit_video.pipeline.given import clip, still

    choose = partial(_size, job, recipe)
    if job.image is not None:
        return still(job.image, choose=choose)
    return clip(str(job.video), choose=choose, fps=recipe.fps, to_last=job.extend == "forward")


def _agree(job: Job) -> None:
    """RequestError for a length that is none, and for keys that contradict each other."""
    if not 0 <= job.seconds <= LONGEST_SECONDS:
        length = str(job.seconds)[:40]
        raise RequestError(f"seconds={length} is no length; expected 0 (an image) to {LONGEST_SECONDS}")
    if job.image is not None and job.video is not None:
        raise RequestError("image= and video= are both given; expected one of them")
    if (job.video is None) != (job.extend is None):
        raise RequestError("video= and extend=forward|backward go together; one of them is missing")
    if job.extend not in {None, "forward", "backward"}:
        raise RequestError(f"extend={job.extend} is unknown; expected forward or backward")
    if job.seconds == 0 and (job.image is not None or job.video is not None):
        raise RequestError("seconds=0 adds nothing to what is given; raise seconds=, or leave image= and video= out")


def _size(job: Job, recipe: Recipe, native: tuple[int, int] | None = None) -> tuple[int, int]:
    """The (height, width) that is asked for; else of the buckets that can show it the nearest in shape, or largest."""
    if job.size is not None:
        height, width = parse_size(job.size)
        recipe.longest(height, width)
        return height, width
    sizes = {(bucket.height, bucket.width) for bucket in recipe.buckets}
    able = {size for size in sizes if recipe.longest(*size) > 1} if job.seconds else sizes
    largest = sorted(able or sizes, key=lambda hw: (-hw[0] * hw[1], hw))
    if native is None:
        return largest[0]
    aspect = native[1] / native[0]
    return min(largest, key=lambda hw: round(abs(math.log(hw[1] / hw[0] / aspect)), 3))
