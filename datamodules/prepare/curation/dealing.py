"""What step=curate is to make: its settings checked, its sources found and dealt to shards. Nothing is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from datamodules.files import storage
from datamodules.prepare import store
from datamodules.prepare.curation.borders import Borders
from datamodules.prepare.curation.clip import Rules
from datamodules.prepare.curation.cuts import Cuts
from datamodules.prepare.curation.schema import FORMAT, MAKING
from datamodules.prepare.curation.sources import Ignored, Source, find_sources
from dit_video.errors import ConfigError, DataError
from dit_video.media.probe import Limits
from dit_video.seeds import rng

LEAST_SHARDS = 8
LEAST_LONGEST = 16
WORST = 51  # crf of H.264


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one shard is made of."""

    number: int
    folder: Path
    dataset: Path
    sources: tuple[Source, ...]
    rules: Rules
    plan: str

    def table(self, kind: str) -> Path:
        """Its table of the index or the quarantine."""
        return self.dataset / kind / f"{self.number:06d}.parquet"

    def making(self) -> Path:
        """Where its parts are kept until it is whole."""
        return self.dataset / MAKING / f"{self.plan[:16]}-{self.number:06d}"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """All shards of a dataset, finished or not, and the files beside its sources that are none."""

    shards: list[Shard]
    ignored: list[Ignored]


def check(*, workers: int | None, file_seconds: float, memory_gb: float) -> None:
    """ConfigError for limits of the processes that make no sense."""
    least = {"workers": (workers or 0, 0), "file_seconds": (file_seconds, 1), "memory_gb": (memory_gb, 1)}
    for key, (value, low) in least.items():
        if not value >= low:  # nor for a NaN
            raise ConfigError(f"{key}={value:g} must be at least {low}")


def plan(
    *,
    source: str,
    dataset: str,
    captions_csv: str | None,
    max_seconds: float,
    min_seconds: float,
    cut_threshold: float,
    fades: bool,
    crop_borders: bool,
    crf: int,
    longest: int | None,
    shard_samples: int,
    max_pixels: int,
    max_frames: int,
    max_file_seconds: float,
) -> Planned:
    """What `curate` is to make, its settings checked and its sources found; nothing is written."""
    if not storage.is_local(dataset):
        raise DataError(f"dataset={dataset} must be a folder; when it is finished, copy it to where it is served from")
    if not 0 < min_seconds <= max_seconds < float("inf"):
        raise DataError(
            f"min_seconds={min_seconds:g} must be above 0 and at most max_seconds={max_seconds:g}, and that a number"
        )
    if longest is not None and longest < LEAST_LONGEST:
        raise DataError(f"longest={longest} must be at least {LEAST_LONGEST} pixels, or null for sizes as they are")
    least = {"shard_samples": (shard_samples, 1), "cut_threshold": (cut_threshold, 0), "crf": (crf, 0)}
    for key, (value, low) in least.items():
        if not value >= low:  # nor for a NaN
            raise ConfigError(f"{key}={value:g} must be at least {low}")
    if crf > WORST:
        raise ConfigError(f"crf={crf} must be at most {WORST}")
    cuts = Cuts(threshold=cut_threshold)
    rules = Rules(
        max_seconds=max_seconds,
        min_seconds=min_seconds,
        crf=crf,
        limits=Limits(pixels=max_pixels, frames=max_frames, seconds=max_file_seconds),
        longest=longest,
        cuts=cuts if fades else replace(cuts, fades=None),
        borders=Borders(crop=crop_borders),
    )
    sources, ignored = find_sources(Path(source), Path(captions_csv) if captions_csv else None)
    shards = deal(sources, rules, folder=Path(source), dataset=Path(dataset), shard_samples=shard_samples)
    return Planned(shards=shards, ignored=ignored)


def deal(sources: Sequence[Source], rules: Rules, *, folder: Path, dataset: Path, shard_samples: int) -> list[Shard]:
    """Deal the sources to shards of about equal size, shuffled by a generator keyed by their number."""
    count = max(min(LEAST_SHARDS, len(sources)), -(-len(sources) // shard_samples))
    order = rng(0, "curate", len(sources)).permutation(len(sources))
    plan_hash = plan_of(sources, rules, folder, shard_samples)
    return [
        Shard(
            number=number,
            folder=folder,
            dataset=dataset,
            sources=tuple(sources[i] for i in order[number::count]),
            rules=rules,
            plan=plan_hash,
        )
        for number in range(count)
    ]


def plan_of(sources: Sequence[Source], rules: Rules, folder: Path, shard_samples: int) -> str:
    """A hash over everything that decides what the shards hold, but the files' contents."""
    listing = [(source.path, source.caption, size_of(folder / source.path)) for source in sources]
    text = json.dumps([FORMAT, shard_samples, asdict(rules), listing], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, -1 where it cannot be had."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def finished(shard: Shard) -> bool:
    """Whether a shard stands already; DataError where it stands with other contents."""
    about = store.metadata(shard.table("index"))
    if about is not None and about.get("plan") != shard.plan:
        raise DataError(
            f"dataset={shard.dataset} was curated from other files or with other settings; "
            "choose another dataset=DIR, or delete this one"
        )
    return about is not None
