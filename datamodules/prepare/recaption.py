"""step=recaption: a trained recaptioner describes every clip, into the sidecar captions/NAME.

- Clips are read as the recaptioner's own run read them (its buckets and frame rate, from its checkpoint).
- What `keep` describes already (by hand, or by an annotator) is copied from there, model and date with it.
- A shard that stands is not captioned again; other weights under the same name are an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.dataset import index, sidecars
from datamodules.dataset.buckets import Buckets, buckets
from datamodules.prepare import extent, rows, store
from datamodules.prepare.captions import check_name, sidecar_schema
from datamodules.prepare.curation.sources import clean_caption
from dit_video.errors import ConfigError, DataError
from dit_video.pipeline.load import device_of
from dit_video.pipeline.recaption import load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datamodules.loading.pixels import ClipLoader
    from dit_video.pipeline.recaption import Words

Row = dict[str, str]
SIZES = ("sizes", "pixels", "frames", "time", "multiple")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What captioning needs at hand; `kept` are finished rows by key."""

    words: Words
    found: index.Index
    folder: Path
    kept: Mapping[str, Row]
    max_tokens: int


def recaption(
    *,
    dataset: str,
    recaptioner: str,
    name: str = "dense",
    keep: str | None = None,
    batch: int = 32,
    max_tokens: int = 64,
    ema: bool = True,
    device: str = "auto",
    workers: int = 1,
    part: str = "0/1",
    max_bad_fraction: float = 0.01,
) -> None:
    """Describe the clips of a dataset with a trained recaptioner, as captions/NAME.

    Args:
        dataset: folder of a curated dataset.
        recaptioner: folder of the recaptioner's run, or of one of its checkpoints.
        name: name of the sidecar; `source` is taken by the captions in the index.
        keep: captions/KEEP are copied instead of written anew, where there are any.
        batch: clips captioned at once, of equal size.
        max_tokens: ids of a caption, at most.
        ema: use the averaged weights.
        device: where the recaptioner runs: auto, cpu, cuda, ...
        workers: processes that decode.
        part: i/n does the shards with number % n == i alone, for several machines.
        max_bad_fraction: damaged share of the clips at which the step stops.
    """
    check_name(name, keep)
    extent.check_tokens(max_tokens)
    store.share(part, ())
    found = rows.load(dataset)
    kept = existing(found, keep) if keep else {}
    words = load(recaptioner, ema=ema, device=device_of(device))
    job = Job(words=words, found=found, folder=rows.home(found) / "captions" / name, kept=kept, max_tokens=max_tokens)
    run(job, batch=batch, workers=workers, part=part, max_bad_fraction=max_bad_fraction)


def existing(found: index.Index, keep: str) -> dict[str, Row]:
    """Rows of the sidecar captions/KEEP by key; DataError where there is none."""
    columns, folder = ["key", "text", "model", "created"], f"{found.folders[0]}/captions/{keep}"
    listed, _ = sidecars.read(folder, shards=index.shards_of(found)[0], wanted=columns)
    if listed is None:
        raise DataError(f"{found.folders[0]} has no captions/{keep}; make them with step=captions, or leave keep out")
    return {row["key"]: row for row in listed.select(columns).to_pylist()}


def read_as(found: index.Index, settings: Mapping[str, Any]) -> ClipLoader:
    """The reader of the dataset's pixels in the buckets of the recaptioner's run."""
    table: Buckets = buckets(
        **{"sizes": None, "pixels": 128 * 128, "frames": 17, "time": 4, "multiple": 16}
        | {key: settings[key] for key in SIZES if settings.get(key) is not None}
    )
    return rows.reader(found, table, float(settings.get("fps", 12.0)))


def run(job: Job, *, batch: int, workers: int, part: str = "0/1", max_bad_fraction: float = 0.01) -> None:
    """Caption the shards that are missing, and say what came out."""
    loader = read_as(job.found, job.words.settings)
    stage = rows.Stage(
        found=job.found,
        folder=job.folder,
        what="captioned",
        read=loader.pixels,
        guard=loader.guard,
        make=partial(describe, job),
        write=partial(write_shard, job),
        batch=batch,
        workers=workers,
        max_bad_fraction=max_bad_fraction,
    )
    check_shards(job)
    keys = enumerate(job.found.key.to_list())
    fresh = [row for row, key in keys if key not in job.kept and loader.shapes[row] is not None]
    short = sum(shape is None for shape in loader.shapes)
    copied = f"{len(job.kept)} captions are kept as they were, {short} clips are too short for a bucket"
    rows.finish(stage, fresh, part=part, what="recaption", rest=copied)


def check_shards(job: Job) -> None:
    """ConfigError where a shard of the sidecar was written by another recaptioner, or for another dataset."""
    for path in sorted(job.folder.glob("*.parquet")):
        saved = store.metadata(path) or {}
        for key, mine in about(job, {}).items():
            if saved.get(key, mine if key == store.FINGERPRINT else "something else") != mine:
                what = "for another dataset in this folder" if key == store.FINGERPRINT else f"by {saved.get(key)}"
                raise ConfigError(f"{job.folder} was written {what}, not by {job.words.name}; choose another name=NAME")


def about(job: Job, damaged: Mapping[int, str]) -> dict[str, str]:
    """Metadata of a shard's table."""
    return {"recaptioner": job.words.name} | rows.about(job.found, damaged)


def describe(job: Job, videos: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Captions of videos of one size."""
    return job.words.captions(videos, max_tokens=job.max_tokens)


def write_shard(job: Job, shard: int, made: Mapping[int, str], damaged: Mapping[int, str]) -> None:
    """Write the captions of a shard: those that are kept, and those made now."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    listed = []
    for row in rows.of_shard(job.found, shard):
        key = job.found.key[row]
        if key in job.kept:
            listed.append(job.kept[key])
        elif row in made:
            text = clean_caption(made[row])
            listed.append({"key": key, "text": text, "model": job.words.name, "created": created})
    store.write_table(rows.table(job.folder, shard), listed, schema=sidecar_schema(), metadata=about(job, damaged))
