"""The stages that both quickstarts have: from a curated dataset to sampled videos, by the experiments of one family."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamodules.quickstart.stages import Stages

PREPARE = ("-m", "datamodules.prepare")
RECONSTRUCT = ("-m", "datamodules.quickstart.reconstruct")
CONF = Path("conf/experiment")
ENCODES = ("sizes", "pixels", "frames", "fps")  # settings of clips that step=encode has too
SHAPES = (*ENCODES, "multiple")


def shape(family: str) -> dict[str, Any]:
    """The settings by which the VAE of a family reads clips: buckets and rate."""
    found = OmegaConf.to_container(OmegaConf.load(CONF / family / "vae.yaml").datamodules)
    assert isinstance(found, dict)
    return {key: found[key] for key in SHAPES if key in found}


def written(settings: dict[str, Any]) -> list[str]:
    """Settings as they stand on a command line."""
    lists = {key: f"[{','.join(value)}]" for key, value in settings.items() if isinstance(value, list)}
    return [f"{key}={value}" for key, value in (settings | lists).items()]


def train_vae(stages: Stages, out: Path, *, family: str) -> None:
    """Train the VAE, and measure what it gives back."""
    data, run = out / "dataset", out / "runs" / "vae"
    stages.run(
        "vae",
        ["train.py", f"experiment={family}/vae", f"datamodules.dataset={data}", f"run.dir={run}"],
        after=["curate"],
        makes=[run],
    )
    bounds = [f"data.{setting}" for setting in written(shape(family))]
    stages.run(
        "reconstruct",
        [*RECONSTRUCT, f"dataset={data}", f"vae={run}", f"out={out}", *bounds],
        after=["vae"],
        makes=[out / "vae", out / "vae.json"],
    )


def describe(stages: Stages, out: Path, *, family: str, options: Sequence[str] = ()) -> None:
    """Train the recaptioner, and let it write captions/dense; `options` are further ones of step=recaption."""
    data, run = out / "dataset", out / "runs" / "recaptioner"
    stages.run(
        "recaptioner",
        ["train.py", f"experiment={family}/recaptioner", f"datamodules.dataset={data}", f"run.dir={run}"],
        after=["curate"],
        makes=[run],
    )
    stages.run(
        "recaption",
        [*PREPARE, "step=recaption", f"dataset={data}", f"recaptioner={run}", "name=dense", *options],
        after=["recaptioner"],
        makes=[data / "captions" / "dense"],
    )


def encode(stages: Stages, out: Path, *, family: str, options: Sequence[str] = ()) -> None:
    """Make latents of the clips; `options` are further ones of step=encode."""
    data = out / "dataset"
    bounds = written({key: value for key, value in shape(family).items() if key in ENCODES})
    stages.run(
        "encode",
        [*PREPARE, "step=encode", f"dataset={data}", f"vae={out / 'runs' / 'vae'}", *bounds, *options],
        after=["vae"],
        makes=[data / "latents" / "vae"],
    )


def train_dit(stages: Stages, out: Path, *, family: str, captioned: bool, options: Sequence[str] = ()) -> None:
    """Train the DiT; `options` are further settings of its run."""
    data, run = out / "dataset", out / "runs" / "dit"
    stages.run(
        "dit",
        ["train.py", f"experiment={family}/dit", f"datamodules.dataset={data}", *options, f"run.dir={run}"],
        after=["encode", *(["recaption"] if captioned else [])],
        makes=[run],
    )


def sample(stages: Stages, out: Path, *, options: Sequence[str] = ()) -> None:
    """Make the videos that requests.jsonl asks for; `options` are further settings of sample.py."""
    run, asked = out / "runs" / "dit", out / "requests.jsonl"
    stages.run(
        "sample",
        ["sample.py", f"checkpoint={run}", f"prompts={asked}", *options, f"out={out}/samples"],
        after=["dit"],
        reads=[asked],
        makes=[out / "samples"],
    )
