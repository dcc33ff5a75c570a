"""step=curate: a folder of videos and images becomes shards, an index and a quarantine (DESIGN.md section 3).

- Sources are dealt to shards by a shuffle that depends on their names alone, so shards are alike.
- A shard is a pure function of its sources and the rules: curating twice gives the same bytes.
- A rerun finishes what is missing; other sources or rules in the same dataset are an error.
- Nothing is dropped for a score: scores are columns of the index, and thresholds are set at training.

dataset.json: format (2), shards, samples, videos, images, seconds, fingerprint (SHA-256 over the tars' hashes),
index_sha256 (over the bytes of index/000000.parquet, 000001.parquet, ...), quarantined (whole files), dropped (pieces of
videos) and dropped_seconds, ignored (files that are no media), reasons (rows of quarantine/ by what stands before the
first colon of their reason).

index/000000.parquet, a row a sample:
    key, kind ("video" or "image"), source, caption, sha256, media_name (suffix), json_name: string
    shard, frames, height, width, media_offset, media_size, json_offset, json_size: int64
    fps, seconds, start_seconds (of the source): float64
    scores, float64, NaN where they mean nothing (images have brightness, contrast, sharpness, text):
        motion          mean optical flow, short sides of the picture per second
        still           share of the frames that repeat the one before, 0 to 1
        slides          share of all change that lies in the tenth of frames that change most; 0.1 is even, 1 a slide show
        sharpness       variance of the Laplacian of luma (0 to 255) at 480 lines, mean over frames
        brightness      mean luma, 0 to 1
        contrast        standard deviation of luma, 0 to 0.5
        text            share of the picture covered by what looks like text, 0 to 1
        border_top, border_bottom, border_left, border_right
                        share of the source's height or width that is black border; cropped unless crop_borders=false
        interlaced, variable, hdr, full_range   1 where the source file was so, else 0
        rotation        degrees counterclockwise that the source file is turned by when shown
    hashes: list<uint64>, perceptual hashes (64 bit) of frames at 1/6, 1/2 and 5/6 of a clip; one of an image

quarantine/000000.parquet, a row for what was not kept, and quarantine/ignored.parquet for files that are no media:
    source, reason: string (class, and after a colon details where there are some)
    start_seconds, seconds: float64, NaN for whole files
    thumbnail: binary, a JPEG of at most 96 pixels, null where no frame could be had
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datamodules.prepare import store, workers
from datamodules.prepare.clip import IMAGES, VIDEOS, Rules, samples
from dit_video import log
from dit_video.errors import DataError
from dit_video.media.probe import Limits
from dit_video.seeds import rng

FORMAT = 1
CAPTION_LIMIT = 2000  # characters
LEAST_SHARDS = 8
LEAST_LONGEST = 16


@dataclass(frozen=True, kw_only=True)
class Source:
    """A raw file: its path relative to the source folder, and its caption ("" for none)."""

    path: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one shard is made of."""

    number: int
    folder: Path
    dataset: Path
    sources: tuple[Source, ...]
    rules: Rules
    plan: str


def index_schema() -> Any:
    """Columns of index/*.parquet."""
    import pyarrow as pa

    texts, whole, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            *[("key", texts), ("shard", whole), ("kind", texts), ("frames", whole), ("height", whole)],
            *[("width", whole), ("fps", real), ("seconds", real), ("source", texts), ("start_seconds", real)],
            *[("caption", texts), ("sha256", texts), ("media_name", texts), ("media_offset", whole)],
            *[("media_size", whole), ("json_name", texts), ("json_offset", whole), ("json_size", whole)],
        ]
    )


def clean_caption(text: str) -> str:
    """A caption without control characters and runs of spaces, cut at a sane length."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+", " ", text).strip()[:CAPTION_LIMIT]


def read_captions(path: Path, folder: Path) -> dict[str, str]:
    """Captions by path relative to `folder`. `file` is relative to the CSV's folder, or to `folder`."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            if not {"file", "caption"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"{path} must have the columns file,caption; it has {','.join(reader.fieldnames or ())}"
                )
            rows = [(str(row["file"] or ""), str(row["caption"] or "")) for row in reader]
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot read captions_csv={path}: {error}") from error
    found, home, root = {}, path.parent.resolve(), folder.resolve()
    for name, caption in rows:
        place = (home / name).resolve()
        relative = place.relative_to(root).as_posix() if place.is_relative_to(root) else Path(name).as_posix()
        found[relative] = clean_caption(caption)
    return found


def find_sources(folder: Path, captions_csv: Path | None) -> list[Source]:
    """Videos and images under `folder`, by name; DataError where there are none."""
    if not folder.is_dir():
        raise DataError(f"source={folder} is not a folder; give source=DIR with videos and images")
    visible = [
        path for path in folder.rglob("*") if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    paths = sorted(path.relative_to(folder).as_posix() for path in visible if path.suffix.lower() in VIDEOS | IMAGES)
    if not paths:
        raise DataError(
            f"source={folder} has no videos or images; expected files such as .mp4, .webm, .mov, .png, .jpg"
        )
    table = captions_csv if captions_csv is not None else folder / "captions.csv"
    captions = read_captions(table, folder) if captions_csv is not None or table.is_file() else {}
    if captions and not set(captions) & set(paths):
        log.get("dit_video.datamodules").warning(
            "%s names none of the files in %s; its file column is relative to the CSV or to source=", table, folder
        )
    return [Source(path=path, caption=captions.get(path, "")) for path in paths]


def plan_of(sources: Sequence[Source], rules: Rules, folder: Path, shard_samples: int) -> str:
    """A hash over everything that decides what the shards hold, but the files' contents."""
    listing = [(source.path, source.caption, (folder / source.path).stat().st_size) for source in sources]
    text = json.dumps([FORMAT, shard_samples, asdict(rules), listing], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def curate_shard(shard: Shard, skip: Mapping[str, str], report: workers.Report) -> None:
    """Make one shard: tar, then quarantine, then index. `skip` names sources that killed a worker, and how."""
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    name = f"{shard.number:06d}"
    members = shard_members(shard, skip, report, rows=rows, refused=refused)
    places, digest = store.write_tar(shard.dataset / "clips" / f"{name}.tar", members)
    for row, place in zip(rows, places, strict=True):
        offset, size = place[row["media_name"]]
        row |= {"media_offset": offset, "media_size": size, "json_name": "json"}
        row |= dict(zip(("json_offset", "json_size"), place["json"], strict=True))
    write_quarantine(shard, refused)
    about = {"tar_sha256": digest, "plan": shard.plan}
    store.write_table(shard.dataset / "index" / f"{name}.parquet", rows, schema=index_schema(), metadata=about)


def shard_members(
    shard: Shard,
    skip: Mapping[str, str],
    report: workers.Report,
    *,
    rows: list[dict[str, Any]],
    refused: list[dict[str, str]],
) -> Iterator[dict[str, Any]]:
    """Samples of a shard as they are made, one source in memory at a time; fills in `rows` and `refused`."""
    for source in shard.sources:
        report(source.path)
        try:
            if source.path in skip:
                raise DataError(skip[source.path])
            fields = {"source": source.path, "caption": source.caption}
            found = samples(shard.folder / source.path, shard.rules, fields)
        except (DataError, MemoryError, OSError) as error:
            reason = str(error) or "out of memory"
            refused.append({"source": source.path, "reason": reason.replace(f"{shard.folder}/", "")})
            continue
        for sample in found:
            key = f"{shard.number:06d}_{len(rows):05d}"
            about = {"sha256": store.sha256(sample.media), "media_name": sample.suffix}
            rows.append({"key": key, "shard": shard.number, **sample.row, **about})
            yield sample.members(key)


def write_quarantine(shard: Shard, refused: Sequence[Mapping[str, str]]) -> None:
    """What a shard refused, and why; a table without rows where it refused nothing."""
    import pyarrow as pa

    schema = pa.schema([("source", pa.string()), ("reason", pa.string())])
    store.write_table(shard.dataset / "quarantine" / f"{shard.number:06d}.parquet", refused, schema=schema)


def finished(shard: Shard) -> bool:
    """Whether a shard stands already; DataError where it stands with other contents."""
    about = store.metadata(shard.dataset / "index" / f"{shard.number:06d}.parquet")
    if about is not None and about.get("plan") != shard.plan:
        raise DataError(
            f"dataset={shard.dataset} was curated from other files or with other settings; "
            "choose another dataset=DIR, or delete this one"
        )
    return about is not None


def summary(dataset: Path, shards: int) -> dict[str, Any]:
    """What dataset.json says: counts, and the fingerprint over the hashes of the shards."""
    import pyarrow.parquet as pq

    hashes, counts = [], {"samples": 0, "videos": 0, "images": 0, "quarantined": 0}
    seconds = 0.0
    for number in range(shards):
        path = dataset / "index" / f"{number:06d}.parquet"
        hashes.append((store.metadata(path) or {})["tar_sha256"])
        table = pq.read_table(path, columns=["kind", "seconds"]).to_pydict()
        counts["samples"] += len(table["kind"])
        counts["videos"] += table["kind"].count("video")
        counts["images"] += table["kind"].count("image")
        counts["quarantined"] += pq.read_metadata(dataset / "quarantine" / path.name).num_rows
        seconds += sum(table["seconds"])
    fingerprint = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return {"format": FORMAT, "shards": shards, **counts, "seconds": round(seconds, 3), "fingerprint": fingerprint}


def curate(
    *,
    source: str,
    dataset: str,
    captions_csv: str | None = None,
    max_seconds: float = 2.0,
    min_seconds: float = 0.5,
    cut_threshold: float = 27.0,
    crf: int = 14,
    longest: int | None = None,
    shard_samples: int = 256,
    workers: int | None = None,
    file_seconds: float = 300.0,
    memory_gb: float = 8.0,
    max_pixels: int = 8192 * 4608,
    max_frames: int = 120_000,
    max_file_seconds: float = 3600.0,
) -> None:
    """Make (or finish) the dataset at `dataset` from the videos and images under `source`.

    Args:
        source: folder of raw files, searched through.
        dataset: folder to write.
        captions_csv: table with columns file,caption; by default captions.csv in `source`, if there is one.
        max_seconds: longest clip; a longer shot gives several.
        min_seconds: shortest clip; shorter pieces are dropped.
        cut_threshold: content change, 0 to 255, above which a frame may begin a new shot.
        crf: quality of clips that must be encoded again; lower is better.
        longest: longer side of what is stored, in pixels; larger clips and images are scaled down to it. By default all
            keep their own size. Where buckets are small it saves room, and the decoding of large frames in training.
        shard_samples: raw files a shard; fewer where that makes less than 8 shards.
        workers: processes; by default one a core. 0 works in this process, without protection against crashes.
        file_seconds: a file that takes longer is quarantined.
        memory_gb: address space a process may use.
        max_pixels: largest frame accepted.
        max_frames: most frames of a file accepted.
        max_file_seconds: longest file accepted.
    """
    folder, target = Path(source), Path(dataset)
    if not 0 < min_seconds <= max_seconds:
        raise DataError(f"min_seconds={min_seconds:g} must be above 0 and at most max_seconds={max_seconds:g}")
    limits = Limits(pixels=max_pixels, frames=max_frames, seconds=max_file_seconds)
    if longest is not None and longest < LEAST_LONGEST:
        raise DataError(f"longest={longest} must be at least {LEAST_LONGEST} pixels, or null for sizes as they are")
    rules = Rules(
        max_seconds=max_seconds,
        min_seconds=min_seconds,
        cut_threshold=cut_threshold,
        crf=crf,
        limits=limits,
        longest=longest,
    )
    sources = find_sources(folder, Path(captions_csv) if captions_csv else None)
    shards = deal(sources, rules, folder=folder, dataset=target, shard_samples=shard_samples)
    todo = [shard for shard in shards if not finished(shard)]
    log.say(
        f"curating {len(sources)} files into {len(shards)} shards of {target} ({len(shards) - len(todo)} done already)"
    )
    make(todo, processes=workers, seconds=file_seconds, memory_gb=memory_gb)
    report(target, len(shards))


def deal(sources: Sequence[Source], rules: Rules, *, folder: Path, dataset: Path, shard_samples: int) -> list[Shard]:
    """Deal the sources to shards of about equal size, shuffled by a generator keyed by their number."""
    count = max(min(LEAST_SHARDS, len(sources)), -(-len(sources) // shard_samples))
    order = rng(0, "curate", len(sources)).permutation(len(sources))
    plan = plan_of(sources, rules, folder, shard_samples)
    return [
        Shard(
            number=number,
            folder=folder,
            dataset=dataset,
            sources=tuple(sources[i] for i in order[number::count]),
            rules=rules,
            plan=plan,
        )
        for number in range(count)
    ]


def make(todo: Sequence[Shard], *, processes: int | None, seconds: float, memory_gb: float) -> None:
    """Make the shards that are missing."""
    count = min(workers.cores() if processes is None else processes, max(len(todo), 1))
    items = workers.run(curate_shard, todo, processes=count, seconds=seconds, memory_gb=memory_gb)
    for _ in log.progress(items, what="curate", total=sum(len(shard.sources) for shard in todo), unit="file"):
        pass


def report(dataset: Path, shards: int) -> None:
    """Write dataset.json and say what came out."""
    import pyarrow.parquet as pq

    about = summary(dataset, shards)
    if about["samples"] == 0:
        first = pq.read_table(dataset / "quarantine" / "000000.parquet").to_pylist()[:1]
        why = f"; the first: {first[0]['source']}: {first[0]['reason']}" if first else ""
        raise DataError(f"none of the files could be used{why}")
    store.write_json(dataset / "dataset.json", about)
    log.say(
        f"{about['samples']} samples ({about['videos']} clips, {about['images']} images, {about['seconds']:.1f} s), "
        f"{about['quarantined']} files quarantined -> {dataset}"
    )
    if about["quarantined"]:
        log.say(f"reasons: {dataset / 'quarantine'}/*.parquet")
