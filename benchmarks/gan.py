"""What each term of the VAE's loss buys, the discriminator above all, in equal CPU time from one common beginning.

    PYTHONPATH=. python benchmarks/gan.py source=FOLDER out=FOLDER [base=600] [more=240] [arms=plain,gan] [at_once=2]

The first 70 % of each clip of the folder are trained on, the last 30 % measured. `base` CPU-seconds of training with
the default loss come first; then every arm goes on from there for `more` CPU-seconds on one thread, by train.py, and
its averaged weights are measured by `dit_video.evaluation`. A run that is there is not made again.

Goals: the discriminator's arm has more detail, with its power nearer to the original's, at no more than 0.5 dB below
the arm without; its discriminator never collapses. Figures go to benchmarks/results/gan.json, the discriminator's
curves to docs/vae_gan.svg, and crops to OUT/crops.png.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks.results import write
from dit_video import log

HELD = 0.7  # where a clip's test part begins
TICK = os.sysconf("SC_CLK_TCK")
LONGEST = 192  # pixels of a side of what is cut
SETTINGS = (
    *(
        "tasks=vae",
        "models/vae=tiny",
        "models.vae.channels=16",
        "models.vae.widths=[64,128]",
        "datamodules=clips",
        "optim=adamw",
        "logger=csv",
    ),
    *("datamodules.pixels=9216", "datamodules.frames=9", "datamodules.multiple=8", "datamodules.batch=4"),
    *("datamodules.workers=0", "datamodules.validation=0", "datamodules.streams=1", "run.samples=1_000_000"),
    *("run.every_samples=1_000_000", "optim.lr=2e-3", "optim.weight_decay=0"),
    *("optim.schedule._target_=dit_video.optim.schedule.Trapezoid", "optim.schedule.warmup=40"),
    "callbacks.ema.half_life=300",
)
ON = ("optim.lr=1e-3", "datamodules.pixels=4096", "datamodules.frames=5")  # smaller clips: more steps in the time
GAN = ("tasks=vae_gan", "tasks.adversary.alone=60", "tasks.adversary.warmup=60", "tasks.adversary.optim.lr=1e-3")
GAN += ("tasks.adversary.discriminator.widths=[16,32,64]",)
ARMS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "no motion": ("tasks.loss.motion=0",),
    "gradient": ("tasks.loss.gradient=0.5", "tasks.loss.scales=3"),
    "spectrum": ("tasks.loss.spectrum=0.02",),
    "gan": GAN,
    "gan, hinge": (*GAN, "tasks.adversary.kind=hinge"),
    "gan and spectrum": (*GAN, "tasks.loss.spectrum=0.02"),
}
CURVES = {
    "gan_accuracy": "patches told from their reconstruction",
    "gan_gap": "logit of the original above the reconstruction's",
    "gan_force": "factor of the push",
    "mse": "squared error",
}


def parts(source: Path, out: Path) -> None:
    """A dataset of the first part of each clip, and one of the rest."""
    from dit_video.media.read import frames, measured_fps
    from dit_video.media.write import write as encode

    for name in ("train", "test"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for file in sorted(source.glob("*.mp4")):
        if (out / "test" / file.name).exists():
            continue
        found = list(frames(file, longest=LONGEST))
        images, border = [frame.image for frame in found], int(HELD * len(found))
        fps = measured_fps(np.asarray([frame.time for frame in found]), header=0.0)
        encode(out / "train" / file.name, images[:border], fps=fps, crf=8)
        encode(out / "test" / file.name, images[border:], fps=fps, crf=8)
    for name in ("train", "test"):
        if not (out / f"{name}_set" / "dataset.json").is_file():
            about = [f"source={out / name}", f"dataset={out / f'{name}_set'}"]
            command = [sys.executable, "-m", "datamodules.prepare", "step=curate", *about]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def train(run: Path, dataset: Path, settings: Sequence[str], *, seconds: float) -> None:
    """Train for CPU-seconds from the first step on, then stop as on a signal: the run is saved."""
    if list(run.glob("checkpoints/*/manifest.json")):
        return
    where = [f"run.name={run.name.replace(' ', '_').replace(',', '')}", f"run.dir={run}"]
    command = [sys.executable, "train.py", *SETTINGS, *settings, *where, f"datamodules.dataset={dataset}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run.parent.mkdir(parents=True, exist_ok=True)
    with run.with_name(f"{run.name}.log").open("w", encoding="utf-8") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=subprocess.STDOUT)
        began = 0.0
        while process.poll() is None:
            time.sleep(0.2)
            began = began or (cpu_seconds(process.pid) if (run / "metrics.csv").is_file() else 0.0)
            if began and cpu_seconds(process.pid) - began > seconds:
                process.send_signal(signal.SIGTERM)
                process.wait()
    if process.returncode != 75:
        raise RuntimeError(f"{run.name} ended with {process.returncode}; see {told.name}")


def held_out(dataset: Path) -> Iterator[torch.Tensor]:
    """The test clips, each (1, 3, t, h, w) in [-1, 1], from its first frame."""
    from datamodules.clips import ClipData

    data = ClipData(dataset=str(dataset), pixels=4096, frames=9, multiple=8, workers=0, validation=0, images=False)
    for number, row in enumerate(data.chosen.rows.tolist()):
        yield data.held_out_batch([row], number).video


@torch.no_grad()
def copies(run: Path, clips: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What a run's VAE makes of clips."""
    from dit_video.pipeline.load import load_vae

    vae = load_vae(run)
    return [vae.decode(vae.encode(clip)) for clip in clips]


def measured(clips: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> dict[str, float]:
    """Means over clips of the figures of an evaluation."""
    from dit_video.evaluation.figures import Pair
    from dit_video.pipeline.generate import to_frames

    rows = []
    for clip, copy in zip(clips, found, strict=True):
        pair = Pair()
        for frame, other in zip(to_frames(clip[0]), to_frames(copy[0]), strict=True):
            pair.add(frame, other)
        rows.append(pair.figures())
    names = [name for name in rows[0] if all(row[name] is not None for row in rows)]
    return {name: round(fmean(float(row[name] or 0.0) for row in rows), 4) for name in names}


def table(run: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """The columns of metrics.csv."""
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.asarray([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def health(run: Path) -> dict[str, float]:
    """Whether the discriminator stayed alive: over tenths of the run, the least and the most of its means."""
    found = table(run)
    known = np.isfinite(found["gan_accuracy"])
    means = {name: [part.mean() for part in np.array_split(found[name][known], 10)] for name in CURVES}
    return {f"{name}, {word}": round(float(of(means[name])), 4) for name in CURVES for word, of in BOUNDS.items()}


BOUNDS = {"least": min, "most": max}


def draw(run: Path, path: Path) -> None:
    """The discriminator's curves as a picture."""
    from dit_video.page.plots import curve, lines

    found, drawn = table(run), []
    for name, title in CURVES.items():
        line = curve(found["samples_seen"], found[name])
        assert line is not None
        drawn.append(re.sub(r".*?(<svg.*</svg>).*", r"\1", lines(title, [line], unit=""), flags=re.DOTALL))
    style = ".raw{fill:none;stroke:#9ab;stroke-width:.6}.smooth{fill:none;stroke:#136;stroke-width:1.6}"
    style += "text{font:10px sans-serif;fill:#444}line,.grid{stroke:#ddd}"
    inside = "".join(
        f'<text x="{10 + 370 * (n % 2)}" y="{14 + 215 * (n // 2)}">{title}</text>'
        f'<g transform="translate({370 * (n % 2)},{20 + 215 * (n // 2)})">{picture}</g>'.replace(
            "<svg ", '<svg width="358" height="190" '
        )
        for n, (title, picture) in enumerate(zip(CURVES.values(), drawn, strict=True))
    )
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 430"><rect width="740" height="430" fill="#fff"/>'
    path.write_text(f"{head}<style>{style}</style>{inside}</svg>\n", encoding="utf-8")


def crops(clips: Sequence[torch.Tensor], made: dict[str, list[torch.Tensor]], path: Path) -> None:
    """A column for the original and each arm, a row a clip: the last frame's middle, three times as large."""
    from dit_video.media.image import write_image
    from dit_video.pipeline.generate import to_frames

    alike = [at for at, clip in enumerate(clips) if clip.shape[-2:] == clips[0].shape[-2:]]
    chosen = alike[:: max(len(alike) // 6, 1)]
    rows = []
    for at in chosen[:6]:
        frames = [to_frames(video[at][0])[-1] for video in (list(clips), *made.values())]
        height, width = frames[0].shape[:2]
        top, left = max(height - 64, 0) // 2, max(width - 64, 0) // 2
        cut = [frame[top : top + 64, left : left + 64].repeat(3, axis=0).repeat(3, axis=1) for frame in frames]
        rows.append(np.concatenate(cut, axis=1))
    write_image(path, np.concatenate(rows, axis=0))


def main(arguments: Sequence[str]) -> None:
    """Make the runs that are missing, measure all, and write."""
    given = dict(item.partition("=")[::2] for item in arguments)
    out = Path(given["out"]).resolve()
    arms = {name: ARMS[name] for name in given["arms"].split(";")} if "arms" in given else ARMS
    base, more = float(given.get("base", 600)), float(given.get("more", 240))
    parts(Path(given["source"]), out)
    train(out / "base", out / "train_set", (), seconds=base)
    begin = (*ON, f"tasks.weights={out / 'base'}")
    with ThreadPoolExecutor(int(given.get("at_once", 2))) as pool:
        runs = {
            name: pool.submit(partial(train, seconds=more), out / name, out / "train_set", (*begin, *settings))
            for name, settings in arms.items()
        }
        for run in runs.values():
            run.result()
    clips = list(held_out(out / "test_set"))
    made = {name: copies(out / name, clips) for name in ("base", *arms)}
    figures: dict[str, object] = {"base, CPU-s": base, "more, CPU-s": more, "clips": len(clips)}
    for name, found in made.items():
        samples = int(table(out / name)["samples_seen"][-1])
        figures[name] = measured(clips, found) | {"samples": samples} | (health(out / name) if "gan" in name else {})
        log.say(f"{name}: {figures[name]}")
    if "gan" in arms:
        draw(out / "gan", Path("docs/vae_gan.svg"))
        crops(clips, {name: made[name] for name in ("plain", "gan") if name in made}, out / "crops.png")
    write("gan", figures, unit="means over clips: dB, SSIM, levels of 255; detail as a share of the original's")


if __name__ == "__main__":
    main(sys.argv[1:])
