"""Judging what was made: the checker on every sampled video, given frames and captions against what they should be.

`python -m datamodules.quickstart.score out=DIR`, in the folder of a quickstart on the embedded corpus.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.quickstart import captions
from datamodules.quickstart.requests import GIVEN, load
from datamodules.quickstart.stages import threads
from datamodules.shapes.captions import parse
from datamodules.shapes.checker import ATTRIBUTES, Verdict, judge, score
from datamodules.shapes.scene import Scene
from dit_video import config, log
from dit_video.errors import ConfigError
from dit_video.evaluation.figures import psnr
from dit_video.media.image import read_image
from dit_video.media.read import read

Frames = NDArray[np.uint8]


def kept(given: Frames, made: Frames) -> float:
    """PSNR in dB of frames that should be equal, at most 99, so that it can be averaged and written."""
    return min(99.0, psnr(given, made))


def verdict(line: dict[str, Any], *, samples: Path) -> tuple[str, dict[str, bool], float | None]:
    """Name, attributes right, and for conditioned samples the dB of the given frames; only frames made are judged."""
    video = read(samples / line["name"])
    scene = parse(line["truth"])
    assert scene is not None
    frames, faithful = video.frames, None
    if line["row"] == "image_to_video":
        faithful, frames = kept(frames[0], read_image(line["image"])), frames[1:]
    elif line["row"] == "forward":
        faithful, frames = kept(frames[:GIVEN], read(line["video"]).frames), frames[GIVEN:]
    elif line["row"] == "backward":
        faithful, frames = kept(frames[-GIVEN:], read(line["video"]).frames), frames[:-GIVEN]
    return line["name"], score(judge(frames, fps=video.fps), scene), faithful


def score_samples(folder: Path) -> dict[str, Any]:
    """Shares right of each row and group of rows; also writes verdicts.json."""
    lines = load(folder / "requests.jsonl")
    with ProcessPoolExecutor(threads()) as pool:
        found = list(pool.map(partial(verdict, samples=folder / "samples"), lines, chunksize=16))
    verdicts = {name: {key: bool(value) for key, value in right.items()} for name, right, _ in found}
    (folder / "verdicts.json").write_text(json.dumps(verdicts), encoding="utf-8")
    groups: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        groups[line["row"]].append(number)
        if line["row"] in {"square", "wide", "tall"}:
            groups["held_out" if line["held_out"] else "in_distribution"].append(number)
    rows = {name: _row([found[number][1] for number in numbers]) for name, numbers in groups.items()}
    given = {name: [found[n][2] for n in numbers if found[n][2] is not None] for name, numbers in groups.items()}
    checker = {name: row for name, row in rows.items() if name not in {"image_to_video", "forward", "backward"}}
    empty: dict[str, Any] = {}
    image = rows.get("image_to_video", empty) | {"psnr_db": _mean(given.get("image_to_video", []))}
    extension = {n: rows.get(n, empty) | {"psnr_db": _mean(given.get(n, []))} for n in ("forward", "backward")}
    return {"checker": checker, "image_to_video": image, "extension": extension}


def round_trip(folder: Path, *, vae: Path) -> float | None:
    """First frames of image-to-video samples against the given pictures after the VAE alone, in dB."""
    from dit_video.pipeline.generate import decode, encode
    from dit_video.pipeline.load import load_vae

    lines = load(folder / "requests.jsonl")
    lines = [line for line in lines if line["row"] == "image_to_video"]
    model = load_vae(vae)
    given = [read_image(line["image"])[None] for line in lines]
    copies = decode(encode(given, vae=model), vae=model)
    firsts = [read(folder / "samples" / line["name"]).frames[:1] for line in lines]
    return _mean([kept(first, copy) for first, copy in zip(firsts, copies, strict=True)])


def _row(rights: list[dict[str, bool]]) -> dict[str, Any]:
    shares = {key: float(np.mean([right[key] for right in rights])) for key in (*ATTRIBUTES, "all")}
    return {"n": len(rights)} | shares


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def score_captions(dense: dict[str, str], truth: dict[str, str]) -> dict[str, float]:
    """Share of attributes right in captions against full descriptions of the same files, each attribute and in all."""
    rights = [described(text, truth[key]) for key, text in dense.items() if key in truth]
    if not rights:
        return {}
    shares = {key: float(np.mean([right[key] for right in rights])) for key in rights[0]}
    parts = [key for key in shares if key != "all"]
    return {"n": len(rights), "attributes": float(np.mean([shares[key] for key in parts]))} | shares


def described(text: str, truth: str) -> dict[str, bool]:
    """Which attributes a caption gets right; none where it is not a full description."""
    wanted, found = parse(truth), parse(text)
    assert wanted is not None
    names = ("things", "size", "colour", "shape", "motion", "ground", "all")
    if found is None:
        return dict.fromkeys(names, False)
    told = score(as_verdict(found), wanted)
    told["motion"] = found.motion == wanted.motion
    told["all"] = found == wanted
    return {name: told[name] for name in names}


def as_verdict(scene: Scene) -> Verdict:
    """What the checker would say if it saw this very scene."""
    things = tuple((thing.size, thing.colour, thing.shape) for thing in scene.things)
    return Verdict(things, scene.ground, scene.motion, scene.speed, in_frame=True)


def main(arguments: list[str]) -> None:
    """Write score.json and captions.json into the folder `out=DIR`."""
    with config.one_line():
        if len(arguments) != 1 or not arguments[0].startswith("out="):
            raise ConfigError("expected out=DIR, the folder of a quickstart, and nothing else")
        log.setup()
        out = Path(arguments[0].removeprefix("out="))
        truth = captions.read_csv(out / "corpus" / "truth.csv")
        described = captions.read_csv(out / "corpus" / "described.csv")
        rows = [row for row in captions.read(out / "dataset", truth) if row["file"] not in described]
        captions.save(out, rows)
        results = score_samples(out)
        results["recaptioner"] = score_captions({row["file"]: row["dense"] for row in rows}, truth)
        results["image_to_video"]["psnr_round_trip_db"] = round_trip(out, vae=out / "runs" / "vae")
        (out / "score.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
