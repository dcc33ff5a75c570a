"""The end of step=curate: dataset.json, and what came out and what did not."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.prepare import store
from datamodules.prepare.curation.schema import FORMAT, MAKING, quarantine_schema
from datamodules.prepare.curation.sources import Ignored, written
from dit_video import log
from dit_video.errors import DataError

DATASET = "dataset.json"


def summary(dataset: Path, shards: int) -> dict[str, Any]:
    """What dataset.json says: counts, and the hashes over the tars and over the index."""
    import pyarrow.parquet as pq

    hashes, tables = hashlib.sha256(), hashlib.sha256()
    counts, reasons = Counter(samples=0, videos=0, images=0, quarantined=0, dropped=0), Counter[str]()
    seconds = lost = 0.0
    for number in range(shards):
        path = dataset / "index" / f"{number:06d}.parquet"
        hashes.update((store.metadata(path) or {})["tar_sha256"].encode())
        tables.update(path.read_bytes())
        table = pq.read_table(path, columns=["kind", "seconds"]).to_pydict()
        counts["samples"] += len(table["kind"])
        counts["videos"] += table["kind"].count("video")
        counts["images"] += table["kind"].count("image")
        seconds += sum(table["seconds"])
        refused = pq.read_table(dataset / "quarantine" / path.name, columns=["reason", "seconds"]).to_pydict()
        reasons.update(reason.split(":")[0] for reason in refused["reason"])
        pieces = [value for value in refused["seconds"] if not math.isnan(value)]
        counts["dropped"] += len(pieces)
        counts["quarantined"] += len(refused["seconds"]) - len(pieces)
        lost += sum(pieces)
    about = {
        "format": FORMAT,
        "shards": shards,
        **counts,
        "seconds": round(seconds, 3),
        "dropped_seconds": round(lost, 3),
    }
    ordered = dict(sorted(reasons.items(), key=lambda each: (-each[1], each[0])))
    return {**about, "reasons": ordered, "fingerprint": hashes.hexdigest(), "index_sha256": tables.hexdigest()}


def report(dataset: Path, shards: int, ignored: Sequence[Ignored]) -> None:
    """Write dataset.json and say what came out; of processes that end at once, one after the other."""
    with store.alone(dataset / DATASET):
        about = write(dataset, shards, ignored)
    say(dataset, about, ignored)


def write(dataset: Path, shards: int, ignored: Sequence[Ignored]) -> dict[str, Any]:
    """Write quarantine/ignored.parquet and dataset.json, unless that stands as it is to be; what it says."""
    import pyarrow.parquet as pq

    about = summary(dataset, shards)
    if about["samples"] == 0:
        first = pq.read_table(dataset / "quarantine" / "000000.parquet").to_pylist()[:1]
        why = f"; the first: {first[0]['source']}: {first[0]['reason']}" if first else ""
        raise DataError(f"none of the files could be used{why}")
    rows = [{"source": written(each.path), "reason": f"ignored: {each.reason}"} for each in ignored]
    none = {"start_seconds": float("nan"), "seconds": float("nan"), "thumbnail": None}
    table = dataset / "quarantine" / "ignored.parquet"
    store.write_table(table, [row | none for row in rows], schema=quarantine_schema())
    about["ignored"] = len(rows)
    if not stands(dataset / DATASET, about):
        store.write_json(dataset / DATASET, about)
    shutil.rmtree(dataset / MAKING, ignore_errors=True)
    return about


def stands(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether a file says this already."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == about)
    except (OSError, ValueError):
        return False


def say(dataset: Path, about: Mapping[str, Any], ignored: Sequence[Ignored]) -> None:
    """What came out, and what did not and why, in a few lines."""
    log.say(
        f"{about['samples']} samples ({about['videos']} clips, {about['images']} images, {about['seconds']:.1f} s), "
        f"{about['quarantined']} files quarantined -> {dataset}"
    )
    if about["dropped"]:
        log.say(f"{about['dropped']} pieces of videos dropped ({about['dropped_seconds']:.1f} s)")
    for reason, count in about["reasons"].items():
        log.say(f"  {count:6d}  {reason}")
    for reason, count in Counter(each.reason for each in ignored).items():
        log.say(f"  {count:6d}  ignored: {reason}")
    if about["reasons"] or ignored:
        log.say(f"each by name: {dataset / 'quarantine'}/*.parquet")
