"""What was derived of datasets later, as columns along the rows of their index: captions, latents, scores.

- A sidecar has a table a shard, with the same numbers and keys; it says which dataset it was made for.
- A score is a number a row: a column of the index made by curate (`motion`), or of a sidecar (`duplicates.copy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.dataset import columns
from datamodules.dataset.columns import Texts
from datamodules.dataset.index import Index, describe, fingerprint_of, record, rows_of, shards_of, table
from datamodules.files import storage
from dit_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

UNLIKE = ("vae", "dataset_fingerprint", "table")  # entries of recipes that may differ from dataset to dataset
HASH = 16  # bytes of XXH3


@dataclass(frozen=True, kw_only=True)
class LatentIndex:
    """Columns of a latent sidecar, in the rows of the index: `frames` is 0 where a sample has no latent.

    `tails` (n, k) holds the latent frames at which the tails of a row start, of which there are `tail_counts`; `places`
    (n, 1 + k) where the bytes of the whole clip and of its tails begin in the tar (0: an older sidecar does not say),
    and `hashes` (n, 1 + k, 16) the XXH3 of each.
    """

    name: str
    recipe: dict[str, Any]
    frames: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    tails: NDArray[np.int64]
    tail_counts: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    sha256: Texts
    places: NDArray[np.int64]
    hashes: NDArray[np.uint8]


def read(
    folder: str, *, shards: int, wanted: Sequence[str] | None = None, fingerprint: str | None = None
) -> tuple[pyarrow.Table | None, list[int]]:
    """All rows of a sidecar's tables, None where there are none, and the numbers of shards that it lacks.

    DataError where a table was made for a dataset of another fingerprint.
    """
    import pyarrow as pa

    paths = [storage.join(folder, f"{number:06d}.parquet") for number in range(shards)]
    contents = storage.fetch([storage.Span(path) for path in paths])
    parts = {
        path: table(path, wanted, data=data)
        for path, data in zip(paths, contents, strict=True)
        if isinstance(data, bytes)
    }
    later = set(parts_schema().names)
    odd = {tuple(field for field in part.schema if field.name not in later): path for path, part in parts.items()}
    if len(odd) > 1:
        raise DataError(f"{' and '.join([*odd.values()][:2])} have other columns, one is damaged; make it again")
    for data in contents if fingerprint is not None else ():
        if isinstance(data, bytes) and made_for(data) not in {None, fingerprint}:
            raise DataError(
                f"{folder} was made for another dataset than what now stands there; delete it, make it again"
            )
    found = pa.concat_tables(parts.values(), promote_options="default") if parts else None
    return found, [number for number, data in enumerate(contents) if not isinstance(data, bytes)]


def made_for(data: bytes) -> str | None:
    """The fingerprint of the dataset that a sidecar's table was made for, where it says so."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = (pq.read_schema(pa.BufferReader(data)).metadata or {}).get(b"dataset_fingerprint")
    return None if found is None else found.decode()


def load_captions(index: Index, name: str) -> Texts:
    """Captions of the sidecars captions/NAME in the rows of the index; None where a sample has none."""
    if name == "source":
        return index.caption
    parts = []
    for at, shards in enumerate(shards_of(index)):
        folder = storage.join(index.folders[at], "captions", name)
        about = fingerprint_of({index.folders[at]: 1.0})
        rows, missing = read(folder, shards=shards, wanted=["key", "text"], fingerprint=about)
        if rows is None:
            raise DataError(
                f"{index.folders[at]} has no captions/{name}; "
                f"make them with step=captions or step=recaption name={name}"
            )
        if missing:
            raise DataError(f"{folder} lacks {len(missing)} of {shards} shards; run the step that makes it to its end")
        parts.append(aligned(index, at, rows, "text"))
    return columns.joined(Texts(part) for part in parts)


def aligned(index: Index, dataset: int, rows: pyarrow.Table, name: str) -> Any:
    """A column of a sidecar's table in the rows of a dataset, null where it has none."""
    import pyarrow as pa

    keys = Texts(index.key.values[rows_of(index, dataset)])
    at = keys.places(Texts(rows["key"]))
    column = rows[name].combine_chunks()
    return column.cast(pa.large_string() if pa.types.is_string(column.type) else column.type).take(
        pa.array(at, mask=at < 0)
    )


def load_score(index: Index, name: str) -> NDArray[np.float64]:
    """A score by row, NaN where it is unknown: `motion` of the index, `duplicates.copy` of a sidecar scores/NAME."""
    kind, _, column = name.rpartition(".")
    parts = [score_of(index, at, kind, column, shards=shards) for at, shards in enumerate(shards_of(index))]
    if all(part is None for part in parts):
        raise ConfigError(f"there is no score {name!r} in {', '.join(index.folders)}")
    sizes = np.bincount(index.dataset, minlength=len(parts))
    return np.concatenate(
        [np.full(size, np.nan) if part is None else part for part, size in zip(parts, sizes, strict=True)]
    )


def score_of(index: Index, dataset: int, kind: str, name: str, *, shards: int) -> NDArray[np.float64] | None:
    """A score of one dataset's rows; None where it has no such column."""
    folder = storage.join(index.folders[dataset], *(["scores", kind] if kind else ["index"]))
    about = fingerprint_of({index.folders[dataset]: 1.0})
    rows, missing = read(folder, shards=shards, wanted=["key", name], fingerprint=about)
    if rows is None or name not in rows.column_names:
        return None
    if kind and missing:
        raise DataError(f"{folder} lacks {len(missing)} of {shards} shards; run the step that makes it to its end")
    found = aligned(index, dataset, rows, name)
    return np.asarray(found.cast("double").to_numpy(zero_copy_only=False), dtype=np.float64)


def load_recipe(dataset: str | Path, name: str) -> dict[str, Any]:
    """How the sidecar latents/NAME was made; DataError where it is missing or damaged."""
    path = storage.join(dataset, "latents", name, "recipe.json")
    if not storage.exists(path):
        raise DataError(
            f"{dataset} has no latents/{name}; make it with: "
            f"python -m datamodules.prepare step=encode dataset={dataset} vae=RUN name={name}"
        )
    return record(path, mend="encode again under another name")


def agreed(folders: Sequence[str], name: str) -> dict[str, Any]:
    """The one recipe of the sidecars latents/NAME; DataError where they differ, or were made of other datasets."""
    recipes = [load_recipe(folder, name) for folder in folders]
    for folder, recipe in zip(folders, recipes, strict=True):
        for key in sorted((set(recipe) | set(recipes[0])) - set(UNLIKE)):
            if recipe.get(key) != recipes[0].get(key):
                raise DataError(
                    f"latents/{name} of {folder} and of {folders[0]} were encoded differently: {key} is "
                    f"{recipe.get(key)} and {recipes[0].get(key)}; encode one again under another name"
                )
        about = str(describe(folder)["fingerprint"])
        if recipe.get("dataset_fingerprint", about) != about:
            raise DataError(
                f"latents/{name} were encoded from another dataset than what now stands in {folder}; "
                "encode again under another name"
            )
    tables = sorted({shape for recipe in recipes for shape in recipe.get("table", ())})
    return recipes[0] | ({"table": tables} if tables else {})


def load_latents(index: Index, name: str) -> LatentIndex:
    """The latent sidecars latents/NAME in the rows of the index; DataError where one is missing or incomplete."""
    import pyarrow as pa

    recipe, tables = agreed(index.folders, name), []
    for folder, shards in zip(index.folders, shards_of(index), strict=True):
        rows, missing = read(storage.join(folder, "latents", name), shards=shards)
        if rows is None or missing:
            raise DataError(
                f"latents/{name} of {folder} lacks {len(missing)} shards; run step=encode again to finish it"
            )
        for later in parts_schema():
            if later.name not in rows.column_names:
                rows = rows.append_column(later, pa.nulls(len(rows), later.type))
        tables.append(rows)

    def numbers(name: str) -> NDArray[np.int64]:
        parts = [aligned(index, at, rows, name).fill_null(0) for at, rows in enumerate(tables)]
        return np.concatenate([np.asarray(part) for part in parts])

    def lists(name: str) -> Any:
        return pa.chunked_array([aligned(index, at, rows, name) for at, rows in enumerate(tables)]).combine_chunks()

    tails, counts = padded(lists("tails"))
    width = 1 + tails.shape[1]
    places, known = padded(lists("part_offsets"), width=width)
    hashes = np.zeros((*places.shape, HASH), np.uint8)
    hashes[np.arange(width) < known[:, None]] = binary(lists("part_hashes"))
    return LatentIndex(
        name=name,
        recipe=recipe,
        tails=tails,
        tail_counts=counts,
        sha256=columns.joined(Texts(aligned(index, at, rows, "sha256")) for at, rows in enumerate(tables)),
        frames=numbers("frames"),
        height=numbers("height"),
        width=numbers("width"),
        offset=numbers("offset"),
        size=numbers("size"),
        places=places,
        hashes=hashes,
    )


def parts_schema() -> pyarrow.Schema:
    """Columns of a latent sidecar that older ones lack: where its tensors begin in the tar, the whole clip first."""
    import pyarrow as pa

    return pa.schema([("part_offsets", pa.list_(pa.int64())), ("part_hashes", pa.list_(pa.binary(HASH)))])


def binary(lists: Any) -> NDArray[np.uint8]:
    """Lists of hashes one after the other, (n, 16)."""
    import pyarrow.compute as pc

    flat = pc.list_flatten(lists)
    return np.frombuffer(flat.buffers()[1] or b"", np.uint8).reshape(-1, HASH)[flat.offset :][: len(flat)]


def padded(lists: Any, *, width: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lists of numbers as a matrix filled up with zeros, and how many each row has."""
    import pyarrow.compute as pc

    counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    made = np.zeros((len(lists), max(int(counts.max(initial=0)), width)), np.int64)
    made[np.arange(made.shape[1]) < counts[:, None]] = np.asarray(pc.list_flatten(lists))
    return made, counts
