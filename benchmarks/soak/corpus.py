"""What the soak trains on: latents of generated shapes by a small VAE, and a DiT with steps of 30 ms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from omegaconf import OmegaConf

from dit_video import log

PREPARE = ("-m", "datamodules.prepare")
SETTINGS = (
    "experiment=quickstart/dit",
    "logger=csv",
    "callbacks.samples=null",
    "run.name=a",
    "datamodules.length=100",
    "datamodules.packs=4",
    "datamodules.streams=4",
    "datamodules.dropout=0.3",
    "models.dit.width=32",
    "models.dit.depth=1",
    "models.text.width=16",
    "models.text.vocabulary=300",
    "optim.schedule.warmup=10",
)
TWO = ("trainer=cpu2",)
SAMPLES = 400  # of a run: about 50 steps, a third of an epoch, so that no sample comes twice
EVERY = 40  # samples between checkpoints


def make(folder: Path) -> Path:
    """The dataset in `folder`, with captions and latents; made where it is not yet."""
    raw, data, vae = folder / "raw", folder / "dataset", folder / "vae"
    if (data / "latents" / "vae" / "recipe.json").is_file() and (folder / "made").is_file():
        return data
    log.say(f"making the dataset in {folder}")
    about = OmegaConf.load("conf/experiment/quickstart/vae.yaml").datamodules
    shape = (f"sizes=[{','.join(about.sizes)}]", f"fps={about.fps}")
    run("-m", "datamodules.shapes", f"out={raw}", "videos=900", "images=300")
    run(*PREPARE, "step=curate", f"source={raw}", f"dataset={data}")
    run(*PREPARE, "step=captions", f"dataset={data}", f"captions_csv={raw}/truth.csv", "name=dense")
    train = ("experiment=quickstart/vae", f"datamodules.dataset={data}", f"run.dir={vae}", "logger=csv")
    run("train.py", *train, "run.samples=200", "optim.schedule.warmup=0")
    run(*PREPARE, "step=encode", f"dataset={data}", f"vae={vae}", *shape)
    (folder / "made").touch()
    return data


def run(*command: str) -> None:
    """One command that must succeed."""
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")


def arguments(data: Path, *more: str, samples: int = SAMPLES, every: int = EVERY) -> list[str]:
    """The settings of one of the soak's runs."""
    sizes = (f"run.samples={samples}", f"run.every_samples={every}")
    return [*SETTINGS, f"datamodules.dataset={data}", *sizes, *more]
