"""step=recaption: a trained recaptioner describes every clip, into the sidecar captions/NAME.

- Clips are read as the recaptioner's own run read them (its buckets and frame rate, from its checkpoint).
- What `keep` describes already (by hand, or by an annotator) is copied from there, model and date with it.
- A shard that stands is not captioned again; other weights under the same name are an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules import index
from datamodules.buckets import Buckets, buckets
from datamodules.prepare import store
from datamodules.prepare.captions import sidecar_schema
from datamodules.prepare.curate import clean_caption
from datamodules.prepare.rows import alike, reader
from dit_video import log
from dit_video.errors import ConfigError, DataError
from dit_video.pipeline.load import device_of
from dit_video.pipeline.recaption import load

if TYPE_CHECKING:
    from datamodules.pixels import ClipLoader
    from dit_video.pipeline.recaption import Words

Row = dict[str, str]
SIZES = ("sizes", "pixels", "frames", "time", "multiple")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What captioning needs at hand; `kept` are finished rows by key."""

    words: Words
    loader: ClipLoader
    folder: Path
    kept: Mapping[str, Row]
    batch: int
    max_tokens: int
    workers: int


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
    """
    if name in {"source", keep} or not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(
            f"name={name} cannot name these captions; use letters and digits, not 'source', not keep's name"
        )
    if batch < 1 or max_tokens < 1:
        raise ConfigError(f"batch and max_tokens must be at least 1, got {batch} and {max_tokens}")
    found = index.load(dataset)
    kept = existing(found, keep) if keep else {}
    words = load(recaptioner, ema=ema, device=device_of(device))
    loader = read_as(found, words.settings)
    folder = Path(dataset) / "captions" / name
    job = Job(
        words=words,
        loader=loader,
        folder=folder,
        kept=kept,
        batch=batch,
        max_tokens=max_tokens,
        workers=workers,
    )
    run(job, found)


def existing(found: index.Index, keep: str) -> dict[str, Row]:
    """Rows of the sidecar captions/KEEP by key; DataError where there is none."""
    rows = index.tables(Path(found.folder) / "captions" / keep)
    if not rows:
        raise DataError(f"{found.folder} has no captions/{keep}; make them with step=captions, or leave keep out")
    columns = ("key", "text", "model", "created")
    listed = [dict(zip(columns, values, strict=True)) for values in zip(*(rows[c] for c in columns), strict=True)]
    return {row["key"]: row for row in listed}


def read_as(found: index.Index, settings: Mapping[str, Any]) -> ClipLoader:
    """The reader of the dataset's pixels in the buckets of the recaptioner's run."""
    table: Buckets = buckets(
        **{"sizes": None, "pixels": 128 * 128, "frames": 17, "time": 4, "multiple": 16}
        | {key: settings[key] for key in SIZES if settings.get(key) is not None}
    )
    return reader(found, table, float(settings.get("fps", 12.0)))


def run(job: Job, found: index.Index) -> None:
    """Caption the shards that are missing, and say what came out."""
    shards: dict[int, list[int]] = {shard: [] for shard in sorted(set(found.shard.tolist()))}
    for row, shard in enumerate(found.shard.tolist()):
        shards[shard].append(row)
    todo = {shard: rows for shard, rows in shards.items() if not finished(job, shard)}
    total = sum(map(len, todo.values()))
    log.say(f"captioning {total} of {len(found)} clips, {len(todo)} of {len(shards)} shards, into {job.folder}")
    work = (row for shard, rows in todo.items() for row in caption_shard(job, shard, rows))
    done = sum(1 for _ in log.progress(work, what="recaption", total=total, unit="clip"))
    copied = sum(key in job.kept for key in found.key)
    log.say(f"{done} captioned now, {copied} of all kept as they were -> {job.folder}")


def finished(job: Job, shard: int) -> bool:
    """Whether the shard stands; ConfigError if another recaptioner wrote it."""
    about = store.metadata(job.folder / f"{shard:06d}.parquet")
    if about is not None and about.get("recaptioner") != job.words.name:
        raise ConfigError(
            f"{job.folder} was written by {about.get('recaptioner', 'something else')}, not by {job.words.name}; "
            "choose another name=NAME"
        )
    return about is not None


def caption_shard(job: Job, shard: int, rows: Sequence[int]) -> Iterator[int]:
    """Caption the rows of a shard and write its table; yields as rows are done."""
    loader = job.loader
    made: dict[int, Row] = {row: job.kept[loader.index.key[row]] for row in rows if loader.index.key[row] in job.kept}
    yield from made
    fresh = [row for row in rows if row not in made and loader.shapes[row] is not None]
    for same in alike(loader, fresh, batch=job.batch, workers=job.workers, what="captioned"):
        texts = job.words.captions([*same.values()], max_tokens=job.max_tokens)
        made |= {
            row: caption_row(loader.index.key[row], text, job.words.name) for row, text in zip(same, texts, strict=True)
        }
        yield from same
    table = [made[row] for row in sorted(made)]
    about = {"recaptioner": job.words.name}
    store.write_table(job.folder / f"{shard:06d}.parquet", table, schema=sidecar_schema(), metadata=about)


def caption_row(key: str, text: str, model: str) -> Row:
    """A row of captions/NAME: the caption of the sample `key`, written now by `model`."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"key": key, "text": clean_caption(text), "model": model, "created": created}
