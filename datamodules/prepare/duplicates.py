"""step=duplicates: clips and images that look alike across a whole dataset, into the sidecar scores/duplicates.

- Compared are the perceptual hashes that step=curate took. Of natural clips, a copy that is scaled, brighter, encoded
  again and cropped by 2 % has hashes within 6 bits of 64, by 5 % within 14; clips of other sources are 20 apart.
- Nothing is removed: `copy` is 1 where a better sample of the group is kept (the largest, then the longest, then the
  first by key), and training leaves copies out by datamodules.filter.duplicates.copy=[null,0]; or with
  datamodules.filter.duplicates.distance=[5,null] those copies alone that differ by less than 5 bits.
- A picture without contrast has a hash of noise, and one that is flat a hash of hardly any bits: neither is compared,
  so that black clips are no group.
- Clips of one source show different moments. They are copies only where they look the same to `source_distance`, as a
  loop does; else a shot with a resting camera would shrink to one clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.dataset import index, sidecars
from datamodules.files import storage
from datamodules.prepare import near, rows, store
from dit_video import log
from dit_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "duplicates"
LEAST_CONTRAST = 0.02  # standard deviation of luma, of 1
LEAST_BITS = 8  # set and unset ones of a hash that says something


@dataclass(frozen=True, kw_only=True)
class Found:
    """Columns of the sidecar by row: `copy` 0 or 1, `group` from 0 on or -1, `bits` between a copy and the kept one."""

    copy: NDArray[np.int64]
    group: NDArray[np.int64]
    bits: NDArray[np.float64]


def duplicates(*, dataset: str, distance: int = 8, image_distance: int = 6, source_distance: int = 2) -> None:
    """Find near duplicates in a dataset, across its shards.

    Args:
        dataset: folder of a curated dataset.
        distance: most bits of 64 by which most hashes of two clips differ.
        image_distance: the same for images, and for clips with one hash that says something: one hash is less evidence.
        source_distance: the same for clips of one source.
    """
    limits = {"distance": distance, "image_distance": image_distance, "source_distance": source_distance}
    check_limits(**limits)
    found = rows.load(dataset)
    folder = rows.home(found) / "scores" / NAME
    shards = [*rows.by_shard(found, ())]
    about = made_with(dataset, limits)
    if known(folder, dataset, limits):
        log.say(f"the duplicates of {dataset} are known already -> {folder}")
        return
    hashes, telling = load_hashes(found)
    log.say(f"comparing {int(telling.any(axis=1).sum())} of {len(found)} samples; the others are flat")
    result = compare(found, hashes, telling, **limits)
    for shard in shards:
        write_shard(folder, shard, found=found, result=result, about=about)
    copies, groups = int(result.copy.sum()), int(result.group.max(initial=-1)) + 1
    log.say(f"{copies} of {len(found)} samples ({copies / len(found):.1%}) are copies, in {groups} groups -> {folder}")
    if copies:
        log.say(f"leave them out of training with datamodules.filter.{NAME}.copy=[null,0]")


def check_limits(*, distance: int, image_distance: int, source_distance: int) -> None:
    """ConfigError for a distance that two hashes cannot have, or that takes for ever."""
    limits = {"distance": distance, "image_distance": image_distance, "source_distance": source_distance}
    for key, bits in limits.items():
        if not 0 <= bits <= near.MOST_BITS:
            raise ConfigError(f"{key} must be from 0 to {near.MOST_BITS} bits, got {bits}")


def made_with(dataset: str | Path, limits: Mapping[str, int]) -> dict[str, str]:
    """Metadata of the sidecar's tables."""
    fingerprint = str(index.describe(dataset)["fingerprint"])
    return {store.FINGERPRINT: fingerprint} | {key: str(bits) for key, bits in limits.items()}


def known(folder: Path, dataset: str | Path, limits: Mapping[str, int]) -> bool:
    """Whether the sidecar in `folder` stands already, with these limits."""
    shards, about = range(int(index.describe(dataset)["shards"])), made_with(dataset, limits)
    return all(store.metadata(rows.table(folder, shard)) == about for shard in shards)


def load_hashes(found: index.Index) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hashes (n, F) of the samples, and which of them say something; DataError where the index has none."""
    import pyarrow.compute as pc

    folder = storage.join(found.folders[0], "index")
    table, _ = sidecars.read(folder, shards=index.shards_of(found)[0], wanted=["hashes", "contrast"])
    if table is None or "hashes" not in table.column_names:
        raise DataError(f"{found.folders[0]} was curated without hashes, by an earlier version; curate again")
    lists = table["hashes"].combine_chunks()
    counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    hashes = np.zeros((len(lists), int(counts.max(initial=0))), np.uint64)
    known = np.arange(hashes.shape[1]) < counts[:, None]
    hashes[known] = np.asarray(pc.list_flatten(lists)).astype(np.uint64)
    ones = np.bitwise_count(hashes)
    known &= (ones >= LEAST_BITS) & (ones <= near.BITS - LEAST_BITS)
    if "contrast" in table.column_names:
        known[np.asarray(table["contrast"].combine_chunks().to_numpy(zero_copy_only=False)) < LEAST_CONTRAST] = False
    return hashes, known


def compare(
    found: index.Index,
    hashes: NDArray[np.uint64],
    known: NDArray[np.bool_],
    *,
    distance: int,
    image_distance: int,
    source_distance: int,
) -> Found:
    """Which samples are copies of which; as `duplicates`."""
    area = found.height * found.width
    order = np.lexsort((np.arange(len(found)), -found.seconds, -area))  # the best first
    sources, _ = found.source.codes()
    allowed = near.Allowed(
        bits=np.where(known.sum(1) > 1, distance, image_distance)[order],
        kind=found.image[order],
        source=sources[order],
        within=source_distance,
    )
    owner, bits = near.stars(near.pairs(hashes[order], known[order], allowed), len(found))
    copy = owner != np.arange(len(found))
    member = np.isin(np.arange(len(found)), owner[copy]) | copy
    kept = np.empty(len(found), np.int64)
    kept[order] = order[owner]
    back = np.argsort(order)
    group = np.full(len(found), -1)
    _, group[member[back]] = np.unique(kept[member[back]], return_inverse=True)
    return Found(copy=copy[back].astype(np.int64), group=group, bits=np.where(copy, bits, np.nan)[back])


def write_shard(folder: Path, shard: int, *, found: index.Index, result: Found, about: dict[str, str]) -> None:
    """Write what is known of a shard's samples."""
    listed: list[dict[str, Any]] = [
        {
            "key": found.key[row],
            "copy": int(result.copy[row]),
            "group": int(result.group[row]),
            "distance": float(result.bits[row]) if result.copy[row] else None,
        }
        for row in rows.of_shard(found, shard)
    ]
    store.write_table(rows.table(folder, shard), listed, schema=duplicates_schema(), metadata=about)


def duplicates_schema() -> Any:
    """Columns of scores/duplicates/*.parquet."""
    import pyarrow as pa

    columns = [("key", pa.string()), ("copy", pa.int64()), ("group", pa.int64()), ("distance", pa.float64())]
    return pa.schema(columns)
