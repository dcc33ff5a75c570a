"""The index of a dataset and of its sidecars, as columns in memory: what exists, not how it looks.

- A row is a sample; rows stand in the order of shards and of samples in them, which no reader changes.
- Held out for validation is a clip whose key hashes under a fraction, and the last clip of a source that gave several,
  for a few sources: a small folder is judged on each of its videos, a large one loses next to nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dit_video.errors import DataError
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("key", "shard", "kind", "frames", "height", "width", "fps", "seconds", "source", "caption", "sha256")
MEDIA = ("media_name", "media_offset", "media_size")
SEVERAL = 2  # clips of a source from which its last is held out
SOURCES = 16  # at most, whose last clip is held out


@dataclass(frozen=True, kw_only=True)
class Index:
    """Columns of the samples of a dataset: strings in lists, numbers in arrays, all of the same length.

    `shard` numbers the tar; `offset` and `size` place the media member in it and `suffix` names its kind.
    """

    folder: str
    fingerprint: str
    key: list[str]
    shard: NDArray[np.int64]
    image: NDArray[np.bool_]
    frames: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    fps: NDArray[np.float64]
    source: list[str]
    caption: list[str]
    sha256: list[str]
    suffix: list[str]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, kw_only=True)
class LatentIndex:
    """Columns of a latent sidecar, in the rows of the dataset's index: `frames` is 0 where a sample has no latent."""

    folder: str
    recipe: dict[str, Any]
    frames: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    tails: list[tuple[int, ...]]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    sha256: list[str]


def tables(folder: Path, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """All rows of the parquet tables in a folder, shard after shard, as columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [
        pq.read_table(path, columns=list(columns) if columns else None) for path in sorted(folder.glob("*.parquet"))
    ]
    if not parts:
        return {}
    merged = pa.concat_tables([part.replace_schema_metadata(None) for part in parts])
    return merged.to_pydict()


def describe(dataset: str | Path) -> dict[str, Any]:
    """What dataset.json says; DataError where there is no finished dataset."""
    path = Path(dataset) / "dataset.json"
    if not path.is_file():
        raise DataError(
            f"{dataset} is not a finished dataset (no dataset.json); "
            f"make it with: python -m datamodules.prepare step=curate source=DIR dataset={dataset}"
        )
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; curate again") from error


def load(dataset: str | Path) -> Index:
    """The index of a curated dataset; DataError where it is missing or not the one that dataset.json counts."""
    folder = Path(dataset)
    about = describe(folder)
    rows = tables(folder / "index", [*COLUMNS, *MEDIA])
    found = len(rows.get("key", ()))
    if not found or found != about["samples"]:
        raise DataError(
            f"the index of {dataset} has {found} samples, dataset.json counts {about['samples']}; curate again"
        )
    return Index(
        folder=str(folder),
        fingerprint=str(about["fingerprint"]),
        image=np.asarray([kind == "image" for kind in rows["kind"]]),
        suffix=rows["media_name"],
        offset=np.asarray(rows["media_offset"]),
        size=np.asarray(rows["media_size"]),
        shard=np.asarray(rows["shard"]),
        frames=np.asarray(rows["frames"]),
        height=np.asarray(rows["height"]),
        width=np.asarray(rows["width"]),
        fps=np.asarray(rows["fps"]),
        key=rows["key"],
        source=rows["source"],
        caption=rows["caption"],
        sha256=rows["sha256"],
    )


def load_captions(index: Index, name: str) -> list[str | None]:
    """Captions of the sidecar captions/NAME in the rows of the index; None where a sample has none."""
    if name == "source":
        return list(index.caption)
    folder = Path(index.folder) / "captions" / name
    rows = tables(folder, ["key", "text"])
    if not rows:
        raise DataError(
            f"{index.folder} has no captions/{name}; make them with step=captions or step=recaption name={name}"
        )
    texts = dict(zip(rows["key"], rows["text"], strict=True))
    return [texts.get(key) for key in index.key]


def load_recipe(dataset: str | Path, name: str) -> dict[str, Any]:
    """How the sidecar latents/NAME was made; DataError where it is missing or damaged."""
    path = Path(dataset) / "latents" / name / "recipe.json"
    if not path.is_file():
        raise DataError(
            f"{dataset} has no latents/{name}; make it with: "
            f"python -m datamodules.prepare step=encode dataset={dataset} vae=RUN name={name}"
        )
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; encode again under another name") from error


def load_latents(index: Index, name: str) -> LatentIndex:
    """The latent sidecar latents/NAME in the rows of the index; DataError where it is missing or incomplete."""
    folder = Path(index.folder) / "latents" / name
    recipe = load_recipe(index.folder, name)
    shards = sorted(set(index.shard.tolist()))
    missing = [shard for shard in shards if not (folder / f"{shard:06d}.parquet").is_file()]
    if missing:
        raise DataError(
            f"latents/{name} of {index.folder} lacks {len(missing)} shards; run step=encode again to finish it"
        )
    rows = tables(folder)
    place = {key: at for at, key in enumerate(rows["key"])}
    at = [place.get(key) for key in index.key]
    return LatentIndex(
        folder=str(folder),
        recipe=recipe,
        tails=[() if i is None else tuple(rows["tails"][i]) for i in at],
        sha256=["" if i is None else rows["sha256"][i] for i in at],
        **{
            column: np.asarray([0 if i is None else rows[column][i] for i in at], dtype=np.int64)
            for column in ("frames", "height", "width", "offset", "size")
        },
    )


def held_out(index: Index, fraction: float) -> NDArray[np.bool_]:
    """Which samples are kept from training."""
    hashed = np.asarray([seed_for(0, "validation", key) / 2**63 < fraction for key in index.key])
    if fraction <= 0:
        return hashed
    counts = Counter(index.source)
    last = {source: at for at, source in enumerate(index.source)}
    several = sorted(
        (source for source in last if counts[source] >= SEVERAL), key=lambda source: seed_for(0, "last clip", source)
    )
    hashed[[last[source] for source in several[:SOURCES]]] = True
    return hashed


def combine(*parts: str) -> str:
    """One fingerprint of several."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
