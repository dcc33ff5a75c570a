"""What the report reads of a dataset: its index with whatever scores it has, what was refused, and its sidecars.

- Columns stay in arrow and numpy, so that a million rows cost seconds; a column that an older dataset lacks is empty.
- Sidecars are those that the dataset's folder lists. Of a URL whose server cannot list there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.dataset import index, sidecars
from datamodules.dataset.columns import Texts
from datamodules.files import storage
from dit_video.errors import DataError

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

TEXTS = ("key", "kind", "source", "caption")
NUMBERS = ("shard", "frames", "height", "width", "fps", "seconds", "start_seconds", "media_offset", "media_size")
UNREAD = ("json_name", "json_offset", "json_size", "hashes", "sha256", "media_name")
REFUSED = ("source", "reason", "start_seconds", "seconds")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The rows of an index as columns of `texts` and `numbers` (NaN where unknown), what was refused, and scores.

    `damaged` are sidecars that could not be read, and why.
    """

    folder: str
    about: Mapping[str, Any]
    texts: Mapping[str, Texts]
    numbers: Mapping[str, Real]
    scores: Mapping[str, Real]
    refused: Refused
    damaged: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts["key"])

    @cached_property
    def image(self) -> NDArray[np.bool_]:
        """Which rows are still images."""
        import pyarrow.compute as pc

        return np.asarray(pc.equal(self.texts["kind"].values, "image"))

    @cached_property
    def seconds(self) -> Real:
        """Length of every row's footage."""
        return np.nan_to_num(self.numbers["seconds"])

    def sha256(self, row: int) -> str:
        """The hash of a row's media, read when asked for: few are."""
        shard = int(self.numbers["shard"][row])
        first = int(np.searchsorted(self.numbers["shard"], shard))
        return str(index.table(table_of(self.folder, "index", shard), ["sha256"])["sha256"][row - first].as_py())

    @cached_property
    def shards(self) -> int:
        """How many shards it has."""
        return int(self.about["shards"])


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Rows of the quarantine, with the `shard` and the place in its table of each: pictures are read when asked for."""

    folder: str
    source: Sequence[str]
    reason: Sequence[str]
    seconds: Real
    start: Real
    shard: NDArray[np.int64]
    place: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which rows are whole media files; the others are stretches of files, and files that are no media."""
        return np.isnan(self.start) & (self.shard >= 0)

    @property
    def pieces(self) -> NDArray[np.bool_]:
        """Which rows are stretches of files."""
        return ~np.isnan(self.start)

    def pictures(self, rows: Sequence[int]) -> dict[int, bytes]:
        """Thumbnails of some rows, of those that have one."""
        found: dict[int, bytes] = {}
        for shard in sorted({int(self.shard[row]) for row in rows} - {-1}):
            part = index.table(table_of(self.folder, "quarantine", shard), ["thumbnail"])
            if "thumbnail" not in part.column_names:
                continue
            for row in (row for row in rows if self.shard[row] == shard):
                data = part["thumbnail"][int(self.place[row])].as_py()
                found |= {row: bytes(data)} if data else {}
        return found


def table_of(folder: str, kind: str, shard: int) -> str:
    """Where the table of a shard lies."""
    return storage.join(folder, kind, f"{shard:06d}.parquet")


def real(column: Any) -> Real:
    """An arrow column as float64, NaN for null."""
    return np.asarray(column.cast("double").to_numpy(), dtype=np.float64)


def load(dataset: str) -> Dataset:
    """The index, quarantine and scores of a dataset; DataError where it is missing, unfinished or damaged."""
    about = index.describe(dataset)
    shards = int(about["shards"])
    wanted = [name for name in names(dataset, "index", shards) if name not in UNREAD]
    rows, missing = sidecars.read(storage.join(dataset, "index"), shards=shards, wanted=wanted)
    if rows is None or missing or rows.num_rows != about["samples"]:
        found = 0 if rows is None else rows.num_rows
        raise DataError(
            f"the index of {dataset} has {found} samples in {shards - len(missing)} of {shards} shards, dataset.json "
            f"counts {about['samples']}; curate again"
        )
    texts = {name: Texts(rows[name]) for name in TEXTS}
    scores = {name: real(rows[name]) for name in rows.column_names if is_score(rows, name)}
    damaged: dict[str, str] = {}
    for kind in sidecar_names(dataset, "scores"):
        try:
            scores |= aligned_scores(dataset, kind, shards=shards, keys=texts["key"])
        except DataError as error:
            damaged[f"scores/{kind}"] = str(error)
    return Dataset(
        folder=dataset,
        about=about,
        texts=texts,
        numbers={
            name: real(rows[name]) if name in rows.column_names else np.full(rows.num_rows, np.nan) for name in NUMBERS
        },
        scores=scores,
        refused=refused(dataset, shards),
        damaged=damaged,
    )


def names(dataset: str, kind: str, shards: int) -> list[str]:
    """Columns of the first and the last table of a kind: the dataset may have grown some on the way."""
    found: dict[str, None] = {}
    for shard in sorted({0, shards - 1}):
        if storage.exists(path := table_of(dataset, kind, shard)):
            found |= dict.fromkeys(index.table(path).column_names)
    return list(found)


def is_score(rows: pyarrow.Table, name: str) -> bool:
    """Whether a column of the index is a score: a number that curate does not need."""
    import pyarrow.types as kinds

    kind = rows.schema.field(name).type
    return name not in NUMBERS and (kinds.is_floating(kind) or kinds.is_integer(kind) or kinds.is_boolean(kind))


def aligned_scores(dataset: str, kind: str, *, shards: int, keys: Texts) -> dict[str, Real]:
    """The columns of scores/KIND in the rows of the index, as `kind.column`."""
    rows, _ = sidecars.read(storage.join(dataset, "scores", kind), shards=shards)
    if rows is None or "key" not in rows.column_names:
        return {}
    at = keys.places(Texts(rows["key"]))
    found = {}
    for name in rows.column_names:
        if is_score(rows, name):
            column = real(rows[name])
            found[f"{kind}.{name}"] = np.where(at >= 0, column[at], np.nan) if len(column) else np.full(len(at), np.nan)
    return found


def aligned_texts(dataset: Dataset, name: str) -> tuple[Texts, pyarrow.Table]:
    """The sidecar captions/NAME in the rows of the index (None where a sample has none), and who wrote it when."""
    import pyarrow as pa

    folder = storage.join(dataset.folder, "captions", name)
    rows, _ = sidecars.read(folder, shards=dataset.shards, wanted=["key", "text", "model", "created"])
    if rows is None or "text" not in rows.column_names:
        raise DataError(f"{folder} has no tables with the columns key, text; make them again")
    at, texts = dataset.texts["key"].places(Texts(rows["key"])), Texts(rows["text"])
    about = rows.drop_columns(["key", "text"])
    if np.array_equal(at, np.arange(len(texts))):
        return texts, about
    return Texts(texts.values.take(pa.array(at, mask=at < 0))), about


def refused(dataset: str, shards: int) -> Refused:
    """All of the quarantine but its pictures; files that are no media have the shard -1."""
    import pyarrow as pa

    paths = {shard: table_of(dataset, "quarantine", shard) for shard in range(shards)}
    paths[-1] = storage.join(dataset, "quarantine", "ignored.parquet")
    parts = {shard: index.table(path, REFUSED) for shard, path in paths.items() if storage.exists(path)}
    rows = pa.concat_tables(parts.values(), promote_options="default") if parts else pa.table({})
    counts = [part.num_rows for part in parts.values()]

    def column(name: str) -> Any:
        return rows[name] if name in rows.column_names else pa.chunked_array([pa.nulls(rows.num_rows)])

    return Refused(
        folder=dataset,
        source=[text or "" for text in column("source").to_pylist()],
        reason=[text or "" for text in column("reason").to_pylist()],
        seconds=real(column("seconds")),
        start=real(column("start_seconds")),
        shard=np.repeat(np.asarray([*parts], dtype=np.int64), counts),
        place=np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(n) for n in counts)]),
    )


def sidecar_names(dataset: str, kind: str) -> list[str]:
    """Names of the sidecars of a kind (captions, scores, latents, text)."""
    return sorted(name for name, folder, _ in entries(storage.join(dataset, kind)) if folder)


def entries(folder: str) -> Iterator[tuple[str, bool, int]]:
    """Name, whether it is a folder, and bytes of what lies in a folder; nothing where it cannot be listed."""
    import fsspec

    if storage.is_local(folder):
        path = storage.local(folder)
        found = path.iterdir() if path.is_dir() else []
        yield from ((item.name, item.is_dir(), item.stat().st_size) for item in found if not item.name.startswith("."))
        return
    filesystem, place = fsspec.core.url_to_fs(folder)
    try:
        listed = filesystem.ls(place, detail=True)
    except Exception as error:
        if isinstance(error, OSError | NotImplementedError) or hasattr(error, "status"):  # a web server that lists none
            return
        raise
    for item in listed:
        name = str(item["name"]).rstrip("/").rsplit("/", 1)[-1]
        is_folder = item.get("type") == "directory" or str(item["name"]).endswith("/")
        yield name, is_folder, int(item.get("size") or 0)
