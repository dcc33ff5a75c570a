"""The index of one or several datasets as columns in memory: what exists, not how it looks.

- A row is a sample; rows stand in the order of datasets, of shards and of samples in them, which no reader changes.
- Held out for validation is a clip whose key hashes under a fraction, and the last clip of a source that gave several,
  for a few sources: a small folder is judged on each of its videos, a large one loses next to nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.dataset import columns
from datamodules.dataset.columns import Texts
from datamodules.files import storage
from dit_video.errors import ConfigError, DataError
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

FORMATS = (1, 2)
COLUMNS = ("key", "shard", "kind", "frames", "height", "width", "fps", "seconds", "source", "caption", "sha256")
MEDIA = ("media_name", "media_offset", "media_size")
SEVERAL = 2  # clips of a source from which its last is held out
SOURCES = 16  # at most, whose last clip is held out


@dataclass(frozen=True, kw_only=True)
class Index:
    """Columns of the samples of datasets, all of the same length.

    `dataset` is the place in `folders`, `shard` the number of the tar in that dataset; `offset` and `size` place the
    media member in the tar, and `suffix` names its kind.
    """

    folders: tuple[str, ...]
    dataset: NDArray[np.int64]
    shard: NDArray[np.int64]
    key: Texts
    image: NDArray[np.bool_]
    frames: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    fps: NDArray[np.float64]
    seconds: NDArray[np.float64]
    source: Texts
    caption: Texts
    sha256: Texts
    suffix: Texts
    offset: NDArray[np.int64]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.key)

    def tar(self, row: int, kind: str = "clips") -> str:
        """The tar of a row's media, or with `kind=latents/NAME` of its latent: a path or URL."""
        return storage.join(self.folders[int(self.dataset[row])], kind, f"{int(self.shard[row]):06d}.tar")


def describe(dataset: str | Path) -> dict[str, Any]:
    """What dataset.json says; DataError where there is no finished dataset, or one of another format."""
    path = storage.join(dataset, "dataset.json")
    if not storage.exists(path):
        raise DataError(
            f"{dataset} is not a finished dataset (no dataset.json); "
            f"make it with: python -m datamodules.prepare step=curate source=DIR dataset={dataset}"
        )
    about = record(path, mend="curate again")
    if about.get("format") not in FORMATS:
        known = ", ".join(map(str, FORMATS))
        raise DataError(f"{dataset} has format {about.get('format')}, this version reads {known}; curate again")
    if lacking := {"shards", "samples", "fingerprint"} - set(about):
        raise DataError(f"{path} is damaged: it has no {', '.join(sorted(lacking))}; curate again")
    return about


def record(path: str, *, mend: str) -> dict[str, Any]:
    """A JSON file; DataError where it is damaged, with what mends it."""
    try:
        return dict(json.loads(storage.read(path)))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; {mend}") from error


def table(path: str, wanted: Sequence[str] | None = None, *, data: bytes | None = None) -> pyarrow.Table:
    """A parquet table with the wanted columns, of those that it has; DataError where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pa.BufferReader(storage.read(path) if data is None else data)
    try:
        known = pq.read_schema(source).names
        source.seek(0)
        columns = None if wanted is None else [name for name in wanted if name in known]
        found = pq.read_table(source, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}; make it again") from error
    return found.replace_schema_metadata(None)


def weights_of(dataset: str | Mapping[str, float]) -> dict[str, float]:
    """Datasets by path or URL, with how often an epoch has each sample of them; ConfigError for a senseless weight."""
    if not isinstance(dataset, Mapping):
        return {str(dataset): 1.0}
    wrong = [name for name, weight in dataset.items() if not isinstance(weight, int | float) or not weight > 0]
    if wrong or not dataset:
        raise ConfigError(
            "datamodules.dataset must be a folder, or folders with how often an epoch has each sample of them, "
            f"such as {{DIR: 1, OTHER: 0.5}}; got {dict(dataset)}"
        )
    return {str(name): float(weight) for name, weight in dataset.items()}


def fingerprint_of(weights: Mapping[str, float]) -> str:
    """One fingerprint of datasets and their weights; of a single one it is that of its dataset.json."""
    prints = [str(describe(folder)["fingerprint"]) for folder in weights]
    return prints[0] if len(prints) == 1 else combine(*prints, *map(str, weights.values()))


def marked(fingerprint: str, folders: Iterable[str], tables: Sequence[str]) -> str:
    """A fingerprint of datasets with the contents of sidecars: a run does not resume on captions made anew."""
    parts = []
    for folder in folders if tables else ():
        shards = int(describe(folder)["shards"])
        for kind in tables:
            spans = [storage.Span(storage.join(folder, kind, f"{shard:06d}.parquet")) for shard in range(shards)]
            found = [data for data in storage.fetch(spans) if isinstance(data, bytes)]
            parts.append(hashlib.sha256(b"".join(found)).hexdigest())
    return combine(fingerprint, *parts) if parts else fingerprint


def load(dataset: str | Path | Sequence[str] | Mapping[str, float]) -> Index:
    """The index of one or several curated datasets; DataError where it is missing, or not what dataset.json counts."""
    import pyarrow.compute as pc

    folders = (str(dataset),) if isinstance(dataset, str | Path) else tuple(dataset)
    abouts = [describe(folder) for folder in folders]
    tables = [of_dataset(folder, about) for folder, about in zip(folders, abouts, strict=True)]

    def texts(name: str) -> Texts:
        return columns.joined(Texts(part[name]) for part in tables)

    def numbers(name: str) -> NDArray[Any]:
        return np.concatenate([part[name].to_numpy() for part in tables])

    return Index(
        folders=folders,
        dataset=np.repeat(np.arange(len(tables)), [part.num_rows for part in tables]),
        shard=numbers("shard"),
        key=texts("key"),
        image=np.asarray(pc.equal(texts("kind").values, "image")),
        frames=numbers("frames"),
        height=numbers("height"),
        width=numbers("width"),
        fps=numbers("fps"),
        seconds=numbers("seconds"),
        source=texts("source"),
        caption=texts("caption"),
        sha256=texts("sha256"),
        suffix=texts("media_name"),
        offset=numbers("media_offset"),
        size=numbers("media_size"),
    )


def of_dataset(folder: str, about: Mapping[str, Any]) -> pyarrow.Table:
    """The index table of a dataset, held against its dataset.json."""
    import pyarrow as pa

    digest, parts = hashlib.sha256(), []
    paths = [storage.join(folder, "index", f"{number:06d}.parquet") for number in range(int(about["shards"]))]
    for path, data in zip(paths, storage.fetch([storage.Span(path) for path in paths]), strict=True):
        if isinstance(data, bytes):
            digest.update(data)
            parts.append(table(path, [*COLUMNS, *MEDIA], data=data))
            if lacking := {*COLUMNS, *MEDIA} - set(parts[-1].column_names):
                raise DataError(f"{path} has no column {', '.join(sorted(lacking))}; curate again")
    found = sum(part.num_rows for part in parts)
    if not found or found != about["samples"]:
        raise DataError(
            f"the index of {folder} has {found} samples, dataset.json counts {about['samples']}; curate again"
        )
    if about.get("index_sha256", digest.hexdigest()) != digest.hexdigest():
        raise DataError(f"the index of {folder} is not the one that dataset.json was written for; curate again")
    return pa.concat_tables(parts)


def shards_of(index: Index) -> list[int]:
    """How many shards each dataset has."""
    return [int(describe(folder)["shards"]) for folder in index.folders]


def rows_of(index: Index, dataset: int) -> slice:
    """The rows of a dataset: they stand together."""
    first, end = np.searchsorted(index.dataset, [dataset, dataset + 1])
    return slice(int(first), int(end))


def held_out(index: Index, fraction: float) -> NDArray[np.bool_]:
    """Which samples are kept from training."""
    if fraction <= 0:
        return np.zeros(len(index), bool)
    hashed = np.asarray([seed_for(0, "validation", key) / 2**63 < fraction for key in index.key.to_list()])
    codes, names = index.source.codes()
    counts, last = np.bincount(codes, minlength=len(names)), np.zeros(len(names), np.int64)
    last[codes] = np.arange(len(codes))
    several = sorted(np.flatnonzero(counts >= SEVERAL), key=lambda code: seed_for(0, "last clip", names[code]))
    hashed[last[several[:SOURCES]]] = True
    return hashed


def combine(*parts: str) -> str:
    """One fingerprint of several."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
