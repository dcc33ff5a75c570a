"""`python -m datamodules.quickstart [source=DIR [captions=FILE]] [out=DIR] [seed=0]`: everything, small, from nothing.

Without `source` it writes the embedded corpus, and a checker judges what comes out; with `source` it does the same on a
folder of the user's own videos and images. `captions` is a table with columns file,caption, by default captions.csv in
the folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.quickstart.corpus import corpus
from datamodules.quickstart.footage import footage
from datamodules.quickstart.stages import Stages
from dit_video import config, log
from dit_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = ("source", "captions", "out", "seed")


def read(arguments: Sequence[str]) -> dict[str, str]:
    """The keys and values of the command line; ConfigError for any that is not known."""
    given = {}
    for item in arguments:
        key, sign, value = item.partition("=")
        if not sign:
            raise ConfigError(f"{item!r} is not key=value; the keys are {', '.join(KEYS)}")
        if key not in KEYS:
            raise ConfigError(f"there is no {key}; {config.nearest(key, KEYS)}")
        given[key] = value
    if not given.get("seed", "0").isdecimal():
        raise ConfigError(f"seed={given['seed']} must be a whole number, 0 or more")
    if "captions" in given and "source" not in given:
        raise ConfigError("captions= goes with source=; the embedded corpus has captions of its own")
    return given


def table(source: Path, captions: str | None) -> Path | None:
    """The captions of a folder: those that are named, or else captions.csv in it; DataError where there is no file."""
    if not source.is_dir():
        raise DataError(f"source={source} is not a folder; expected one of videos and images")
    named = Path(captions) if captions else source / "captions.csv"
    if captions and not named.is_file():
        raise DataError(f"captions={captions} is no file; expected a table with columns file,caption")
    return named if named.is_file() else None


def finish(out: Path, stages: Stages, results: dict[str, Any]) -> None:
    """results.json, the report, and what to look at."""
    from datamodules.quickstart.report import build

    stages.finish()
    rows = json.loads((out / "vae.json").read_text(encoding="utf-8"))
    videos = [row["psnr_db"] for row in rows if row["frames"] > 1] or [row["psnr_db"] for row in rows]
    results["vae"] = {"psnr_db": sum(videos) / len(videos) if videos else None, "clips": len(videos)}
    results["stages"] = {stage.name: {"seconds": stage.seconds} for stage in stages.done.values()}
    results["seconds_total"] = sum(stage.seconds for stage in stages.done.values())
    results["peak_memory_gb"] = max(stage.peak_gb for stage in stages.done.values())
    (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    page = build(out)
    for name, stage in stages.done.items():
        log.say(f"{name:12s} {stage.seconds:6.0f} s")
    told = f"VAE {results['vae']['psnr_db']:.1f} dB" if videos else "no clip held out to measure the VAE on"
    log.say(f"total {results['seconds_total']:.0f} s, peak {results['peak_memory_gb']:.1f} GB, {told}")
    for name, row in results.get("checker", {}).items():
        log.say(f"{name:16s} {row['all']:6.1%} all attributes right of {row['n']}, in frame {row['in_frame']:.1%}")
    log.say(f"\nreport: {page}\nfigures: {out}/results.json\nvideos: {out}/samples/")


def main(arguments: Sequence[str]) -> None:
    """Run all stages; a stage that is done is not run again."""
    with config.one_line():
        given = read(arguments)
        log.setup()
        source, seed = given.get("source"), int(given.get("seed", 0))
        captions = table(Path(source), given.get("captions")) if source else None
        out = Path(given.get("out") or ("outputs/footage" if source else "outputs/quickstart"))
        out.mkdir(parents=True, exist_ok=True)
        stages = Stages(out)
        if source:
            results = footage(out, stages, source=Path(source), captions_csv=captions, seed=seed)
        else:
            results = corpus(out, stages, seed=seed)
        finish(out, stages, results)


if __name__ == "__main__":
    main(sys.argv[1:])
