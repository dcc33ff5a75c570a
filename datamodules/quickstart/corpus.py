"""The quickstart on the embedded corpus, whose truth is known: a checker judges what comes out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from datamodules.quickstart import steps

if TYPE_CHECKING:
    from pathlib import Path

    from datamodules.quickstart.stages import Stages

FAMILY = "quickstart"
EACH = 200  # prompts a size
GIVEN = 60  # pictures to start from, clips to extend forward, and backward


def corpus(out: Path, stages: Stages, *, seed: int) -> dict[str, Any]:
    """Run all stages, and return the figures that need the truth."""
    raw, data = out / "corpus", out / "dataset"
    described = f"captions_csv={raw}/described.csv"
    stages.run("corpus", ["-m", "datamodules.shapes", f"out={raw}"], makes=[raw])
    stages.run(
        "curate",
        [*steps.PREPARE, "step=curate", f"source={raw}", f"dataset={data}", "crop_borders=false"],  # a thing on black
        [*steps.PREPARE, "step=captions", f"dataset={data}", described, "name=described"],
        after=["corpus"],
        makes=[data],
    )
    steps.train_vae(stages, out, family=FAMILY)
    steps.describe(stages, out, family=FAMILY, options=["keep=described"])
    steps.encode(stages, out, family=FAMILY, options=["batch=64"])
    steps.train_dit(stages, out, family=FAMILY, captioned=True)
    ask(out, seed=seed)
    steps.sample(stages, out, options=["sampling.guidance=1.5", "sampling.steps=12"])
    stages.run(
        "check",
        ["-m", "datamodules.quickstart.score", f"out={out}"],
        after=["sample", "recaption"],
        makes=[out / "score.json", out / "captions.json"],
    )
    return dict(json.loads((out / "score.json").read_text(encoding="utf-8")))


def ask(out: Path, *, seed: int) -> None:
    """Write the prompts, and the pictures and clips to go on from."""
    from datamodules.quickstart.requests import conditioned, save, text_to_video

    lines = [*text_to_video(each=EACH, seed=seed), *conditioned(out / "given", each=GIVEN, seed=seed)]
    save(out / "requests.jsonl", lines)
