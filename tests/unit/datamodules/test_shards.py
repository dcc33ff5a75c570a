from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from datamodules import index
from datamodules.shards import DamagedError, Shards


def place(found: index.Index, row: int) -> dict[str, object]:
    return {"offset": int(found.offset[row]), "size": int(found.size[row]), "sha256": found.sha256[row]}


def test_every_member_reads_from_path_url_and_copy(finished: Path) -> None:
    found = index.load(finished)
    local, url = Shards(finished / "clips"), Shards(f"file://{finished}/clips")
    copied = pickle.loads(pickle.dumps(local))
    for row in range(len(found)):
        data = local.read(int(found.shard[row]), **place(found, row))
        assert data == url.read(int(found.shard[row]), **place(found, row))
        assert data == copied.read(int(found.shard[row]), **place(found, row))
    local.close()


def test_one_flipped_byte_is_found(dataset: Path) -> None:
    found = index.load(dataset)
    path = dataset / "clips" / f"{found.shard[3]:06d}.tar"
    data = bytearray(path.read_bytes())
    data[int(found.offset[3]) + 100] ^= 1
    path.write_bytes(bytes(data))
    shards = Shards(dataset / "clips")
    with pytest.raises(DamagedError, match="not those of the index"):
        shards.read(int(found.shard[3]), **place(found, 3))
    other = next(row for row in range(len(found)) if row != 3)
    shards.read(int(found.shard[other]), **place(found, other))


def test_cut_and_missing_shards_are_damage(dataset: Path) -> None:
    found = index.load(dataset)
    last = max(range(len(found)), key=lambda row: (found.shard[row], found.offset[row]))
    path = dataset / "clips" / f"{found.shard[last]:06d}.tar"
    path.write_bytes(path.read_bytes()[: int(found.offset[last]) + 10])
    with pytest.raises(DamagedError):
        Shards(dataset / "clips").read(int(found.shard[last]), **place(found, last))
    path.unlink()
    with pytest.raises(DamagedError, match="No such file"):
        Shards(dataset / "clips").read(int(found.shard[last]), **place(found, last))
