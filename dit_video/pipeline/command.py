"""The command behind `sample.py`: settings in, MP4s out."""

from __future__ import annotations

import math
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

    from dit_video.media.read import Video
    from dit_video.pipeline.denoise import Sampling

    Frames = NDArray[np.uint8]

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
        seconds: to make; 0 for an image.
        seed: of the noise; counted up line by line.
        out: an .mp4, .png or .jpg file; with `prompts` a folder.
        vae: where the VAE's run lies, if it is not found: the one the latents were made with, and no other.
        ema: sample with the averaged weights.
        device: auto, cpu, cuda, ...
        sampling: how.
    """
    run = Path(checkpoint)
    recipe, coder = read_recipe(run)
    first = Job(prompt=prompt or "", image=image, video=video, extend=extend, size=size, seconds=seconds, seed=seed)
    if (prompt is None) == (prompts is None):
        raise RequestError("expected either prompt= or prompts=FILE")
    if prompts is None:
        jobs, paths = [first], [Path(out or f"outputs/sample{'.mp4' if seconds else '.png'}")]
    else:
        jobs = read_jobs(Path(prompts), first)
        paths = outputs.in_folder(jobs, Path(out or "outputs/samples"))
    check(jobs, paths, recipe)
    outputs.prepare(paths)
    log.say(f"{len(jobs)} video(s) with {checkpoint}, {sampling.steps} steps, guidance {sampling.guidance:g}")
    from dit_video.pipeline.generate import Models, generate
    from dit_video.pipeline.load import device_of, load_dit

    place = device_of(device)
    vae_model = coder.load(vae).to(place)
    dit, text = load_dit(run, ema=ema)
    models = Models(vae_model, dit.to(place), text.to(place), recipe)
    videos = generate((request_of(job, recipe) for job in jobs), models=models, sampling=sampling)
    for path, frames in zip(paths, log.progress(videos, what="sampling", total=len(jobs), unit="video"), strict=True):
        outputs.save(path, frames, fps=recipe.fps)
    log.say(f"written: {paths[0] if prompts is None else out}")


def check(jobs: Sequence[Job], paths: Sequence[Path], recipe: Recipe) -> None:
    """Read all that is given and hold it against the recipe and the paths, before anything is made."""
    for job, path in zip(jobs, paths, strict=True):
        with job.blamed():
            request = request_of(job, recipe)
            request.check(recipe)
            outputs.check(path, frames=request.total, key="name" if job.place else "out")


def request_of(job: Job, recipe: Recipe) -> Request:
    """The job as a request: given files read, and brought to a size and rate of the model."""
    if not 0 <= job.seconds <= LONGEST_SECONDS:
        length = str(job.seconds)[:40]
        raise RequestError(f"seconds={length} is no length; expected 0 (an image) to {LONGEST_SECONDS}")
    given = _given(job)
    if given is not None and job.seconds == 0:
        raise RequestError("seconds=0 adds nothing to what is given; raise seconds=, or leave image= and video= out")
    frames = round(job.seconds * recipe.fps) - (1 if job.image else 0) if job.seconds else 1
    if frames < 1:
        raise RequestError(f"seconds={job.seconds:g} makes no frame at {recipe.fps:g} fps; raise seconds=")
    height, width = _size(job.size, recipe, given, moving=job.seconds > 0)
    fitted = None if given is None else _fitted(given, height, width, fps=recipe.fps, to_last=job.extend == "forward")
    start, end = (None, fitted) if job.extend == "backward" else (fitted, None)
    return Request(prompt=job.prompt, height=height, width=width, frames=frames, seed=job.seed, start=start, end=end)


def _given(job: Job) -> Video | None:
    """The frames that are given; RequestError for keys that contradict each other."""
    import numpy as np

    from dit_video.media.image import read_image
    from dit_video.media.read import Video, read

    if job.image is not None and job.video is not None:
        raise RequestError("image= and video= are both given; expected one of them")
    if (job.video is None) != (job.extend is None):
        raise RequestError("video= and extend=forward|backward go together; one of them is missing")
    if job.extend not in {None, "forward", "backward"}:
        raise RequestError(f"extend={job.extend} is unknown; expected forward or backward")
    if job.image is not None:
        return Video(frames=read_image(job.image)[None], times=np.zeros(1), fps=0.0)
    return None if job.video is None else read(job.video)


def _size(size: str | None, recipe: Recipe, given: Video | None, *, moving: bool) -> tuple[int, int]:
    """Height and width that are asked for; else of the buckets that can show it the nearest in shape, or largest."""
    if size is not None:
        height, width = parse_size(size)
        recipe.longest(height, width)
        return height, width
    sizes = {(bucket.height, bucket.width) for bucket in recipe.buckets}
    able = {size for size in sizes if recipe.longest(*size) > 1} if moving else sizes
    largest = sorted(able or sizes, key=lambda hw: (-hw[0] * hw[1], hw))
    if given is None:
        return largest[0]
    aspect = given.frames.shape[2] / given.frames.shape[1]
    return min(largest, key=lambda hw: round(abs(math.log(hw[1] / hw[0] / aspect)), 3))


def _fitted(given: Video, height: int, width: int, *, fps: float, to_last: bool) -> Frames:
    """Given frames at the model's size and rate; with `to_last` the last is one of them, else the first."""
    import numpy as np

    from dit_video.media.fit import at_rate, cover

    picks = at_rate(given.times, fps=fps, to_last=to_last)
    return np.stack([cover(given.frames[pick], height, width) for pick in picks])
