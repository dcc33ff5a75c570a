"""A minute of 1920x1080 through the smallest VAE of 8x32x32, encoded and decoded as streams, written as it comes.

    PYTHONPATH=. python benchmarks/stream.py CLIP [frames=1440] [size=1920x1080] [out=DIR] [tile=N] [threads=1]

The clip's first 17 frames, covering the size (rows and columns filled up to multiples of 32 and cut off again), are
encoded as a stream; the latents are given to `stream_decode` one by one, forth and back until there are enough frames,
and each frame goes to the MP4 (dit_video.media.write) before the next latent is decoded. The VAE is of the config
tiny_8x32x32, at the principal components of the clip: what it shows is the clip, what it costs is what a trained one
costs. A thread reads the resident memory of the process ten times a second. OUT/stream.mp4 is the video,
OUT/memory.html the plot of memory over time, benchmarks/results/stream.json the figures. Goal: at most 4 GB, and flat.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from einops import rearrange
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.results import write as keep
from dit_video import log
from dit_video.media.fit import cover
from dit_video.media.read import frames
from dit_video.media.write import write
from dit_video.models.vae import VAE
from dit_video.models.vae.init import measure, principal
from dit_video.page import plots
from dit_video.page.document import Section, document

FIRST, FPS = 17, 24.0
PAGE = 4096 / 1e6
"""MB of a page of memory."""


class Meter:
    """Resident memory of this process over time, read by a thread: rows of seconds and MB."""

    def __init__(self, every: float = 0.1) -> None:
        self.rows: list[tuple[float, float]] = []
        self.every, self.begun, self.ended = every, time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def read(self) -> None:
        """Once more."""
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
        self.rows.append((time.monotonic() - self.begun, pages * PAGE))

    def watch(self) -> None:
        """Until the end."""
        while not self.ended.wait(self.every):
            self.read()

    def __enter__(self) -> Meter:
        self.read()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        self.read()


def model(video: Tensor) -> VAE:
    """The smallest VAE of 8x32x32, at the principal components of a part of a video."""
    torch.manual_seed(0)
    vae: VAE = instantiate(OmegaConf.load("conf/models/vae/tiny_8x32x32.yaml"))().eval()
    principal(vae, [video])
    measure(vae, [video])
    return vae


def source(path: Path, size: tuple[int, int]) -> Iterator[Tensor]:
    """Frames (1, 3, 1, h, w) in [-1, 1] of a clip, covering `size`, filled up to multiples of 32 by their edges."""
    height, width = size
    missing = (0, -width % 32, 0, -height % 32)
    for frame in islice(frames(path), FIRST):
        image = torch.from_numpy(np.ascontiguousarray(cover(frame.image, height, width))).float() / 127.5 - 1
        yield torch.nn.functional.pad(rearrange(image, "h w c -> 1 c h w"), missing, mode="replicate")[:, :, None]


def forth_and_back(latents: Tensor) -> Iterator[Tensor]:
    """Single latent frames without end: those of a clip, back to the second, forth again."""
    count = latents.shape[2]
    order = [*range(1, count), *range(count - 2, 1, -1)]
    yield latents[:, :, :1]
    while True:
        for place in order:
            yield latents[:, :, place : place + 1]


def shown(videos: Iterator[Tensor], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Frames (h, w, 3) of a stream of videos."""
    for video in videos:
        for frame in video[0].unbind(dim=1):
            levels = (frame[:, : size[0], : size[1]].clamp(-1, 1) + 1) * 127.5
            yield rearrange(levels.round().byte(), "c h w -> h w c").numpy()


@torch.inference_mode()
def stream(
    clip: Path,
    *,
    count: int,
    size: tuple[int, int],
    out: Path,
    tile: int | None = None,
    make: Callable[[Tensor], VAE] = model,
) -> dict[str, Any]:
    """Write so many frames, by the VAE that is made for a video; returns the figures."""
    seen = list(source(clip, size))
    corner = torch.cat(seen, dim=2)[..., :512, :512]
    vae = make(corner)
    begun = time.process_time()
    latents = torch.cat(list(vae.stream_encode(seen, tile=tile)), dim=2)
    encoded = time.process_time() - begun
    del seen, corner
    with Meter() as meter:
        begun, worked = time.monotonic(), time.process_time()
        video = shown(vae.stream_decode(forth_and_back(latents), tile=tile), size)
        made = write(out / "stream.mp4", islice(video, count), fps=FPS, preset="veryfast")
        seconds, worked = time.monotonic() - begun, time.process_time() - worked
    taken = np.array([row[1] for row in meter.rows])
    parts = [round(float(part.max())) for part in np.array_split(taken, 8) if len(part)]
    curve = plots.curve(np.array([row[0] for row in meter.rows]), taken)
    assert curve is not None
    told = plots.lines("Resident memory over seconds", [curve], unit="MB", zero=True, wide=True)
    page = document("Memory of a stream", "", [Section("memory", "Memory", told)])
    (out / "memory.html").write_text(page, encoding="utf-8")
    return {
        "frames": made,
        "size": f"{size[1]}x{size[0]}",
        "seconds": round(seconds, 1),
        "CPU seconds": round(worked, 1),
        "frames per CPU second, decoded and written": round(made / worked, 2),
        "frames per CPU second, encoded": round(FIRST / encoded, 2),
        "peak MB": round(float(taken.max())),
        "peak MB of each eighth of the time": parts,
        "median MB": round(median(taken.tolist())),
        "seconds and MB": [(round(at, 1), round(mb)) for at, mb in meter.rows[:: max(1, len(meter.rows) // 200)]],
    }


def main(arguments: list[str]) -> None:
    """Measure."""
    settings = dict(item.split("=", 1) for item in arguments[1:])
    torch.set_num_threads(int(settings.get("threads", "1")))
    width, height = (int(side) for side in settings.get("size", "1920x1080").split("x"))
    out = Path(settings.get("out", tempfile.mkdtemp()))
    out.mkdir(parents=True, exist_ok=True)
    tile = int(settings["tile"]) if "tile" in settings else None
    figures = stream(
        Path(arguments[0]), count=int(settings.get("frames", "1440")), size=(height, width), out=out, tile=tile
    )
    log.say(f"{out / 'stream.mp4'}: {figures}")
    keep("stream", figures)


if __name__ == "__main__":
    main(sys.argv[1:])
