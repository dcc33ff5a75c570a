"""Eight kinds of damage to a shard: every one is found, costs its own samples only, and leaves the order as it was."""

from __future__ import annotations

import io
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fake.web import serve

from datamodules.dataset import index, sidecars
from datamodules.files.shards import Member, Shards
from datamodules.latents import LatentData
from datamodules.order.packs import Item
from datamodules.prepare.verify import Damage, check
from dit_video.batch import PackBatch
from dit_video.errors import UserError

EACH = 50
BLOCK = 512
Places = list[tuple[int, int]]
Harm = Callable[[bytes, Places, random.Random], bytes | None]
"""`harm(data, places, rng)`: a tar made of `data`, whose members are at these (offset, size); None where it is gone."""


def flip(data: bytes, at: int, rng: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def bit_in_media(data: bytes, places: Places, rng: random.Random) -> bytes:
    offset, size = rng.choice(places)
    return flip(data, offset + rng.randrange(size), rng)


def bit_in_header(data: bytes, places: Places, rng: random.Random) -> bytes:
    return flip(data, rng.choice(places)[0] - BLOCK + rng.randrange(345), rng)


def cut_at_member(data: bytes, places: Places, rng: random.Random) -> bytes:
    return data[: rng.choice(places)[0] - BLOCK]


def cut_in_member(data: bytes, places: Places, rng: random.Random) -> bytes:
    offset, size = rng.choice(places)
    return data[: offset + rng.randrange(1, size)]


def zeros(data: bytes, places: Places, rng: random.Random) -> bytes:
    offset, size = rng.choice(places)
    at, count = offset + rng.randrange(size // 2), rng.randrange(64, 4096)
    return data[:at] + bytes(len(data[at : at + count])) + data[at + count :]


def emptied(data: bytes, places: Places, rng: random.Random) -> bytes:
    return b""


def missing(data: bytes, places: Places, rng: random.Random) -> None:
    return None


def changed(data: bytes, places: Places, rng: random.Random) -> bytes:
    """As if made again: another valid tar, or the same one with other contents in some or all of its members."""
    if rng.random() < 0.5:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for at in range(len(places)):
                member = tarfile.TarInfo(f"{at:06d}.mp4")
                member.size = rng.randrange(100, 20_000)
                tar.addfile(member, io.BytesIO(rng.randbytes(member.size)))
        return made.getvalue()
    for offset, size in rng.sample(places, rng.randrange(1, len(places) + 1)):
        data = data[:offset] + rng.randbytes(size) + data[offset + size :]
    return data


KINDS = [bit_in_media, bit_in_header, cut_at_member, cut_in_member, zeros, emptied, missing, changed]


def write(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(data)


def members_of(found: index.Index) -> list[Member]:
    return [
        Member(path=found.tar(row), offset=int(found.offset[row]), size=int(found.size[row]), hash=found.sha256[row])
        for row in range(len(found))
    ]


def places_of(members: list[Member], path: Path) -> Places:
    return [(member.offset, member.size) for member in members if member.path == str(path)]


@pytest.mark.parametrize("harm", KINDS, ids=lambda harm: harm.__name__)
def test_every_damage_is_found_and_costs_its_samples_only(harm: Harm, dataset: Path) -> None:
    members, rng = members_of(index.load(dataset)), random.Random(harm.__name__)
    fingerprint, tars = str(index.describe(dataset)["fingerprint"]), sorted((dataset / "clips").glob("*.tar"))
    sound = Shards().read_all(members)
    for _ in range(EACH):
        tar = rng.choice(tars)
        whole = tar.read_bytes()
        write(tar, harm(whole, places_of(members, tar), rng))
        left = tar.read_bytes() if tar.exists() else b""
        kept = [
            member.path != str(tar) or left[member.offset :][: member.size] == whole[member.offset :][: member.size]
            for member in members
        ]
        read = Shards().read_all(members)
        assert [data if isinstance(data, bytes) else None for data in read] == [
            data if good else None for data, good in zip(sound, kept, strict=True)
        ]
        assert all(kept) == (harm is bit_in_header), "headers are not read by index"
        told = check(str(dataset), fingerprint, ("clips", int(tar.stem)))
        assert told, "step=verify finds all"
        assert {damage.file for damage in told} == {f"clips/{tar.name}"}
        write(tar, whole)
    assert Shards().read_all(members) == sound


def test_another_valid_shard_in_its_place_is_found(dataset: Path) -> None:
    members = members_of(index.load(dataset))
    first, second = sorted((dataset / "clips").glob("*.tar"))[:2]
    shutil.copy(second, first)
    read = Shards().read_all(members)
    assert [isinstance(data, bytes) for data in read] == [member.path != str(first) for member in members]
    told = check(str(dataset), str(index.describe(dataset)["fingerprint"]), ("clips", int(first.stem)))
    assert told == [Damage(f"clips/{first.name}", "", "another tar, or changed since it was indexed")]


def latent_data(dataset: str, **settings: object) -> LatentData:
    return LatentData(
        **{"dataset": dataset, "length": 300, "packs": 4, "micro": 2, "max_bad_fraction": 1.0, "workers": 0} | settings
    )


def epochs(dataset: str, workers: int = 0, **settings: object) -> tuple[list[PackBatch], int]:
    """About two epochs of micro-batches, and how many samples were counted as damaged."""
    made = latent_data(dataset, workers=workers, **settings)
    made.begin(0, 2 * len(made.index), 0, 1)
    loader = made.train_dataloader()
    return list(loader), loader.bad


def tokens(batch: PackBatch) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """Key, tokens and weights of the clips of a batch."""
    lengths = list(batch.layout.lengths)
    return list(zip(batch.keys, batch.data.split(lengths), batch.weight.split(lengths), strict=True))


def order(batches: list[PackBatch]) -> list[object]:
    return [(batch.place, batch.keys, batch.captions, batch.layout.lengths) for batch in batches]


@pytest.mark.parametrize("harm", KINDS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("older", [False, True], ids=["parts", "whole files"])
def test_training_goes_on_in_the_same_order_with_weight_0(
    harm: Harm, older: bool, finished: Path, dataset: Path
) -> None:
    """Every bit that is read is checked: what a sample's pattern does not need may be damaged, for step=verify."""
    if older:
        age(dataset)
    sound, none = epochs(str(finished))
    made = latent_data(str(dataset))
    tar = dataset / "latents/vae/000003.tar"
    rows = np.flatnonzero((made.index.shard == 3) & (made.latents.size > 0)).tolist()
    whole = tar.read_bytes()
    clips = [Item(row=row, ordinal=0) for row in rows]  # under no condition: what all of them need
    needed = [made.loader.members(clip, made.loader.wanted(clip)) for clip in clips]
    places = [(member.offset, member.size) for (member,) in needed]
    left = harm(whole, places, random.Random(1)) or b""
    write(tar, harm(whole, places, random.Random(1)))
    read, bad = epochs(str(dataset))
    assert none == 0
    assert order(read) == order(sound)
    lost = [spoilt(made, item, tar, whole, left) for item in items_of(made)]
    assert any(lost) == (harm is not bit_in_header)
    assert bad == sum(lost)
    told = iter(lost)
    for batch, same in zip(read, sound, strict=True):
        for (key, data, weight), (_, before, weighed) in zip(tokens(batch), tokens(same), strict=True):
            gone = bool(key) and next(told)
            assert torch.equal(data, torch.zeros_like(data) if gone else before)
            assert torch.equal(weight, torch.zeros_like(weight) if gone else weighed)


def age(dataset: Path) -> None:
    """Make its latents as an older version wrote them: their tables do not say where the tensors of a file are."""
    for path in sorted((dataset / "latents/vae").glob("*.parquet")):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["part_offsets", "part_hashes"]), path)


def items_of(made: LatentData) -> list[Item]:
    """The samples of these epochs, in order."""
    made.begin(0, 2 * len(made.index), 0, 1)
    return [item for micro in made.train_dataloader().micros for pack in micro.packs for item in pack.items]


def spoilt(made: LatentData, item: Item, tar: Path, whole: bytes, left: bytes) -> bool:
    """Whether what is read of a sample is not as it was written."""
    members = made.loader.members(item, made.loader.wanted(item))
    parts = [slice(offset, offset + size) for path, offset, size, _ in members if path == str(tar)]
    return any(left[part] != whole[part] for part in parts)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_over_http_is_the_local_one(workers: int, finished: Path, tmp_path: Path) -> None:
    local, _ = epochs(str(finished))
    with serve(finished) as server:
        refused = random.Random(0)
        server.fault = lambda path: 503 if refused.random() < 0.05 else None
        read, bad = epochs(server.url, workers, cache=str(tmp_path / "cache"), cache_gb=0.1)
    assert bad == 0
    assert order(read) == order(local)
    assert all(
        torch.equal(a.data, b.data) and torch.equal(a.weight, b.weight) for a, b in zip(read, local, strict=True)
    )


def test_a_shard_that_a_server_lost_keeps_the_order_too(dataset: Path, finished: Path) -> None:
    local, _ = epochs(str(finished))
    (dataset / "latents/vae/000003.tar").unlink()
    with serve(dataset) as server:
        read, bad = epochs(server.url)
    assert order(read) == order(local)
    assert bad > 0


@pytest.mark.parametrize("path", ["index/000002.parquet", "latents/vae/000002.parquet", "dataset.json"])
def test_a_damaged_table_is_one_line_or_changes_nothing(path: str, dataset: Path) -> None:
    def load() -> tuple[list[str], list[str], list[int]]:
        found = index.load(dataset)
        latents = sidecars.load_latents(found, "vae")
        return found.sha256.to_list(), latents.sha256.to_list(), latents.offset.tolist()

    file, sound, rng = dataset / path, load(), random.Random(path)
    data = file.read_bytes()
    for _ in range(EACH // 2):
        file.write_bytes(flip(data, rng.randrange(len(data)), rng))
        try:
            assert load() == sound
        except UserError:
            continue
