"""step=curate: a folder of videos and images becomes shards, an index and a quarantine (docs/architecture.md).

- Sources are dealt to shards by a shuffle that depends on their names alone, so shards are alike.
- A shard is a pure function of its sources and the rules: curating twice gives the same bytes.
- A rerun finishes what is missing; other sources or rules in the same dataset are an error.
- Nothing is dropped for a score: scores are columns of the index, and thresholds are set at training.

dataset.json: format (2), shards, samples, videos, images, seconds, fingerprint (SHA-256 over the tars' hashes),
index_sha256 (over the bytes of index/000000.parquet, 000001.parquet, ...), quarantined (whole files), dropped (pieces
of videos) and dropped_seconds, ignored (files that are no media), reasons (rows of quarantine/ by what stands before
the first colon of their reason).

index/000000.parquet, a row a sample:
    key, kind ("video" or "image"), source, caption, sha256, media_name (suffix), json_name: string
    shard, frames, height, width, media_offset, media_size, json_offset, json_size: int64
    fps, seconds, start_seconds (of the source): float64
    scores, float64, NaN where they mean nothing (images have brightness, contrast, sharpness, text):
        motion          mean optical flow, short sides of the picture per second
        still           share of the frames that repeat the one before, 0 to 1
        slides          share of all change that lies in the tenth of the frames that change most; 1 is a slide show
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

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.prepare import store, workers
from datamodules.prepare.curation import parts
from datamodules.prepare.curation.clip import Found, first_picture, samples
from datamodules.prepare.curation.dealing import Shard, check, finished, plan
from datamodules.prepare.curation.schema import index_schema, quarantine_schema
from datamodules.prepare.curation.sources import Source, written
from datamodules.prepare.curation.tally import report
from dit_video import log
from dit_video.errors import ConfigError, DataError

LEAK = 1 << 30  # bytes by which a process may grow over its sources before it is replaced


def curate_shard(shard: Shard, skip: Mapping[str, str], report: workers.Report) -> None:
    """Make one shard unless another process is at it. `skip` names sources that killed a worker, and how."""
    import cv2

    cv2.setNumThreads(0)  # the optical flow depends on their number
    held = store.claim(shard.table("index"))
    if held is None:
        return
    try:
        if not finished(shard):
            make_parts(shard, skip, report)
            assemble(shard, report)
    finally:
        held.release()


def assemble(shard: Shard, report: workers.Report) -> None:
    """Write a shard from its parts: tar, then quarantine, then index.

    Each source is reported again: the time that a process may be silent is a file's, not that of all of a slow disk.
    """
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    members = shard_members(shard, report, rows=rows, refused=refused)
    places, digest = store.write_tar(shard.dataset / "clips" / f"{shard.number:06d}.tar", members)
    for row, place in zip(rows, places, strict=True):
        offset, size = place[row["media_name"]]
        row |= {"media_offset": offset, "media_size": size, "json_name": "json"}
        row |= dict(zip(("json_offset", "json_size"), place["json"], strict=True))
    store.write_table(shard.table("quarantine"), refused, schema=quarantine_schema())
    about = {"tar_sha256": digest, "plan": shard.plan}
    store.write_table(shard.table("index"), rows, schema=index_schema(), metadata=about)
    shutil.rmtree(shard.making(), ignore_errors=True)


def make_parts(shard: Shard, skip: Mapping[str, str], report: workers.Report) -> None:
    """What each source of a shard gives, kept beside the shard; what is there already is kept.

    A process that has grown by `LEAK`, or in which memory is out after other sources, asks to be replaced.
    """
    begun, made = resident(), 0
    for at, source in enumerate(shard.sources):
        place = shard.making() / f"{at:05d}"
        report(source.path)
        if parts.load(place) is not None:
            continue
        if resident() - begun > LEAK and made:
            raise workers.Again
        try:
            parts.save(place, made_of(source, shard, skip))
        except MemoryError:
            if made:
                raise workers.Again from None
            parts.save(place, parts.refused("out of memory", None))
        made += 1


def made_of(source: Source, shard: Shard, skip: Mapping[str, str]) -> Found:
    """What a source gives; a reason and a small picture where it gives nothing.

    A file may do anything to a decoder: whatever comes of it is the reason, and costs this file alone.
    """
    path = shard.folder / source.path
    if source.path in skip:
        return parts.refused(skip[source.path], None)
    try:
        return samples(path, shard.rules, {"source": source.name, "caption": source.caption})
    except MemoryError:
        raise
    except Exception as error:
        known = isinstance(error, DataError | OSError)
        log.get("dit_video.datamodules").debug("%s", source.name, exc_info=error)
        reason = written(str(error) if known else f"failed unexpectedly: {type(error).__name__}: {error}")
        reason = reason.replace(written(str(path)), "").replace(f"{shard.folder}/", "")
        return parts.refused(" ".join(reason.split()).strip(": "), first_picture(path, shard.rules))


def resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    except OSError:
        return 0


def shard_members(
    shard: Shard, report: workers.Report, *, rows: list[dict[str, Any]], refused: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Samples of a shard from its parts, one source in memory at a time; fills in `rows` and `refused`."""
    for at, source in enumerate(shard.sources):
        report(source.path)
        found = parts.load(shard.making() / f"{at:05d}")
        if found is None:
            raise DataError(f"a part of shard {shard.number} of {shard.dataset} has vanished; run step=curate again")
        refused += [{"source": source.name, **vars(piece)} for piece in found.dropped]
        for sample in found.samples:
            key = f"{shard.number:06d}_{len(rows):05d}"
            about = {"sha256": store.sha256(sample.media), "media_name": sample.suffix}
            rows.append({"key": key, "shard": shard.number, **sample.row, **sample.scores, **about})
            yield sample.members(key)


def curate(
    *,
    source: str,
    dataset: str,
    captions_csv: str | None = None,
    max_seconds: float = 2.0,
    min_seconds: float = 0.5,
    cut_threshold: float = 27.0,
    fades: bool = True,
    crop_borders: bool = True,
    crf: int = 14,
    longest: int | None = None,
    shard_samples: int = 256,
    part: str = "0/1",
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
        fades: whether fades and dissolves part shots too; their frames are dropped.
        crop_borders: whether black borders are cut off.
        crf: quality of clips that must be encoded again; lower is better.
        longest: longer side of what is stored, in pixels; larger clips and images are scaled down to it. By default all
            keep their own size. Where buckets are small it saves room, and the decoding of large frames in training.
        shard_samples: raw files a shard; fewer where that makes less than 8 shards.
        part: "i/n" makes only the shards whose number leaves i when divided by n: for n machines at once, i from 0.
        workers: processes; by default one a core. 0 works in this process, without protection against crashes.
        file_seconds: a file that takes longer is quarantined.
        memory_gb: address space a process may use.
        max_pixels: largest frame accepted.
        max_frames: most frames of a file accepted.
        max_file_seconds: longest file accepted.
    """
    check(workers=workers, file_seconds=file_seconds, memory_gb=memory_gb)
    planned = plan(
        source=source,
        dataset=dataset,
        captions_csv=captions_csv,
        max_seconds=max_seconds,
        min_seconds=min_seconds,
        cut_threshold=cut_threshold,
        fades=fades,
        crop_borders=crop_borders,
        crf=crf,
        longest=longest,
        shard_samples=shard_samples,
        max_pixels=max_pixels,
        max_frames=max_frames,
        max_file_seconds=max_file_seconds,
    )
    shards, target = planned.shards, Path(dataset)
    numbers = set(store.share(part, [shard.number for shard in shards]))
    writable(target)
    mine = [shard for shard in shards if shard.number in numbers]
    todo = [shard for shard in mine if not finished(shard)]
    files = sum(len(shard.sources) for shard in shards)
    log.say(f"curating {files} files into {len(shards)} shards of {target} ({len(mine) - len(todo)} done already)")
    make(todo, processes=workers, seconds=file_seconds, memory_gb=memory_gb)
    missing = sorted({shard.number for shard in shards} - store.standing(target / "index"))
    if held := numbers.intersection(missing):
        log.say(f"shards in the hands of another process: {len(held)}, the first {min(held):06d}; let it finish")
        store.begin_again()
    elif missing:
        log.say(f"part={part} is done; {len(missing)} shards of other parts are not, the first is {missing[0]:06d}")
    elif all(map(finished, shards)):
        report(target, len(shards), planned.ignored)


def writable(dataset: Path) -> None:
    """Make the folder of a dataset; ConfigError where that cannot be, or nothing can be written to it."""
    try:
        dataset.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"dataset={dataset} cannot be made ({error.strerror}); choose another dataset=DIR") from error
    if not os.access(dataset, os.W_OK | os.X_OK):
        raise ConfigError(f"dataset={dataset} cannot be written to; choose another dataset=DIR, or change its rights")


def make(todo: Sequence[Shard], *, processes: int | None, seconds: float, memory_gb: float) -> None:
    """Make the shards that are missing."""
    count = min(workers.cores() if processes is None else processes, max(len(todo), 1))
    items = workers.run(curate_shard, todo, processes=count, seconds=seconds, memory_gb=memory_gb)
    for _ in log.progress(items, what="curate", total=sum(len(shard.sources) for shard in todo), unit="file"):
        pass
