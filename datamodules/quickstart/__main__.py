"""`python -m datamodules.quickstart [source=DIR] [out=outputs/quickstart]`: everything, small, from nothing.

Without `source` it writes the embedded corpus, and a checker judges what comes out; with `source` it does the same on a
folder of the user's own videos and images.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from datamodules.quickstart.stages import Stages
from dit_video import config, log
from dit_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

PREPARE = ("-m", "datamodules.prepare")
RECONSTRUCT = ("-m", "datamodules.quickstart.reconstruct")
CONF = Path("conf/experiment")


def corpus(out: Path, *, seed: int) -> None:
    """All stages on the embedded corpus."""
    stages, data, runs = Stages(out), out / "dataset", out / "runs"
    raw = out / "corpus"
    dataset = f"datamodules.dataset={data}"
    about = OmegaConf.load(CONF / "quickstart" / "vae.yaml").datamodules
    shape = [f"sizes=[{','.join(about.sizes)}]", f"fps={about.fps}"]
    stages.run("corpus", ["-m", "datamodules.shapes", f"out={raw}"])
    stages.run(
        "curate",
        [*PREPARE, "step=curate", f"source={raw}", f"dataset={data}"],
        [*PREPARE, "step=captions", f"dataset={data}", f"captions_csv={raw}/described.csv", "name=described"],
    )
    stages.run("vae", ["train.py", "experiment=quickstart/vae", dataset, f"run.dir={runs}/vae"])
    stages.run(
        "reconstruct",
        [*RECONSTRUCT, f"dataset={data}", f"vae={runs}/vae", f"out={out}", *(f"data.{bound}" for bound in shape)],
    )
    stages.run("recaptioner", ["train.py", "experiment=quickstart/recaptioner", dataset, f"run.dir={runs}/recaptioner"])
    stages.run(
        "recaption",
        [
            *PREPARE,
            "step=recaption",
            f"dataset={data}",
            f"recaptioner={runs}/recaptioner",
            "name=dense",
            "keep=described",
        ],
    )
    stages.run("encode", [*PREPARE, "step=encode", f"dataset={data}", f"vae={runs}/vae", *shape, "batch=64"])
    stages.run("dit", ["train.py", "experiment=quickstart/dit", dataset, f"run.dir={runs}/dit"])
    ask(out, seed=seed)
    stages.run(
        "sample",
        ["sample.py", f"checkpoint={runs}/dit", f"prompts={out}/requests.jsonl", f"out={out}/samples"],
    )
    results = judged(out, raw=raw, data=data)
    finish(out, stages, results)


def ask(out: Path, *, seed: int) -> None:
    """Write the prompts, and the pictures and clips to go on from."""
    from datamodules.quickstart.requests import conditioned, save, text_to_video

    save(out / "requests.jsonl", [*text_to_video(each=200, seed=seed), *conditioned(out / "given", each=60, seed=seed)])


def judged(out: Path, *, raw: Path, data: Path) -> dict[str, Any]:
    """The figures of results.json that need the truth; also writes captions.json."""
    from datamodules.quickstart.score import round_trip, score_captions, score_samples

    log.say("\n[check] every sampled video, by pixels alone")
    truth = read_csv(raw / "truth.csv")
    described = set(read_csv(raw / "described.csv"))
    captions = [row for row in read_captions(data, truth) if row["file"] not in described]
    (out / "captions.json").write_text(json.dumps(captions[:200]), encoding="utf-8")
    told = {row["file"]: row["dense"] for row in captions}
    results = score_samples(out) | {"recaptioner": score_captions(told, truth)}
    results["image_to_video"]["psnr_round_trip_db"] = round_trip(out, vae=out / "runs" / "vae")
    return results


def footage(out: Path, *, source: str, seed: int) -> None:
    """All stages on a folder of the user's own."""
    stages, data, runs = Stages(out), out / "dataset", out / "runs"
    dataset = f"datamodules.dataset={data}"
    stages.run(
        "curate",
        [*PREPARE, "step=curate", f"source={source}", f"dataset={data}", f"captions_csv={table(source)}"]
        if table(source)
        else [*PREPARE, "step=curate", f"source={source}", f"dataset={data}"],
    )
    stages.run("vae", ["train.py", "experiment=footage/vae", dataset, f"run.dir={runs}/vae"])
    shape = OmegaConf.load(CONF / "footage" / "vae.yaml").datamodules
    bounds = [f"pixels={shape.pixels}", f"frames={shape.frames}"]
    stages.run(
        "reconstruct",
        [*RECONSTRUCT, f"dataset={data}", f"vae={runs}/vae", f"out={out}", *(f"data.{bound}" for bound in bounds)],
    )
    kinds = "captions={source: 1.0}"
    if any(row["source"] for row in read_captions(data, {})):
        stages.run(
            "recaptioner", ["train.py", "experiment=footage/recaptioner", dataset, f"run.dir={runs}/recaptioner"]
        )
        stages.run(
            "recaption",
            [*PREPARE, "step=recaption", f"dataset={data}", f"recaptioner={runs}/recaptioner", "name=dense"],
        )
        kinds = "captions={dense: 0.95, source: 0.05}"
    stages.run("encode", [*PREPARE, "step=encode", f"dataset={data}", f"vae={runs}/vae", *bounds])
    stages.run("dit", ["train.py", "experiment=footage/dit", dataset, f"datamodules.{kinds}", f"run.dir={runs}/dit"])
    from datamodules.quickstart.requests import save

    captions = read_captions(data, {})
    (out / "captions.json").write_text(json.dumps(captions[:200]), encoding="utf-8")
    texts = list(dict.fromkeys(row["dense"] or row["source"] for row in captions))[:6]
    lines = [
        {"name": f"sample_{n}.mp4", "row": "samples", "prompt": text, "seconds": 17 / 12, "seed": seed + n}
        for n, text in enumerate(texts or [""])
    ]
    save(out / "requests.jsonl", lines)
    stages.run("sample", ["sample.py", f"checkpoint={runs}/dit", f"prompts={out}/requests.jsonl", f"out={out}/samples"])
    finish(out, stages, {})


def table(source: str) -> str | None:
    """The captions of a folder: captions.csv in it, or in the folder above."""
    for place in (Path(source), Path(source).parent):
        if (place / "captions.csv").is_file():
            return str(place / "captions.csv")
    return None


def read_csv(path: Path) -> dict[str, str]:
    """Captions by file."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["caption"] for row in csv.DictReader(file)}


def read_captions(data: Path, truth: dict[str, str]) -> list[dict[str, Any]]:
    """Key, file, source and dense caption of every clip, and the truth where there is one."""
    from datamodules import index

    found = index.load(str(data))
    short = index.load_captions(found, "source")
    dense = index.load_captions(found, "dense") if (data / "captions" / "dense").is_dir() else short
    rows = zip(found.key, found.source, short, dense, strict=True)
    return [
        {"key": key, "file": file, "source": source or "", "dense": told or "", "truth": truth.get(file)}
        for key, file, source, told in rows
    ]


def finish(out: Path, stages: Stages, results: dict[str, Any]) -> None:
    """results.json, the report, and what to look at."""
    from datamodules.quickstart.report import build

    rows = json.loads((out / "vae.json").read_text(encoding="utf-8"))
    videos = [row["psnr_db"] for row in rows if row["frames"] > 1] or [row["psnr_db"] for row in rows]
    results["vae"] = {"psnr_db": sum(videos) / len(videos) if videos else 0.0, "clips": len(videos)}
    results["stages"] = {stage.name: {"seconds": stage.seconds} for stage in stages.done.values()}
    results["seconds_total"] = sum(stage.seconds for stage in stages.done.values())
    results["peak_memory_gb"] = max(stage.peak_gb for stage in stages.done.values())
    (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    page = build(out)
    for name, stage in stages.done.items():
        log.say(f"{name:12s} {stage.seconds:6.0f} s")
    total, peak, decibels = results["seconds_total"], results["peak_memory_gb"], results["vae"]["psnr_db"]
    log.say(f"total {total:.0f} s, peak {peak:.1f} GB, VAE {decibels:.1f} dB")
    for name, row in results.get("checker", {}).items():
        log.say(f"{name:16s} {row['all']:6.1%} all attributes right of {row['n']}, in frame {row['in_frame']:.1%}")
    log.say(f"\nreport: {page}\nfigures: {out}/results.json\nvideos: {out}/samples/")


def main(arguments: Sequence[str]) -> None:
    """Run all stages; a stage that is done is not run again."""
    with config.one_line():
        given = OmegaConf.to_container(OmegaConf.from_dotlist(list(arguments)))
        assert isinstance(given, dict)
        for key in given:
            if key not in {"source", "out", "seed"}:
                raise ConfigError(f"there is no {key}; {config.nearest(str(key), ['source', 'out', 'seed'])}")
        log.setup()
        source = given.get("source")
        if source is not None and not Path(str(source)).is_dir():
            raise DataError(f"source={source} is no folder; expected a folder of videos and images")
        out = Path(str(given.get("out") or ("outputs/footage" if source else "outputs/quickstart")))
        out.mkdir(parents=True, exist_ok=True)
        seed = int(str(given.get("seed", 0)))
        if source is None:
            corpus(out, seed=seed)
        else:
            footage(out, source=str(source), seed=seed)


if __name__ == "__main__":
    main(sys.argv[1:])
