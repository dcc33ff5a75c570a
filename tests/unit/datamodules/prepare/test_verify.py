from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import tarfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake.web import serve

from datamodules.prepare import store
from datamodules.prepare.verify import Damage, check, verify, whole
from dit_video.errors import DataError

SHARDS, SAMPLES = 3, 8
SCHEMA = pa.schema(
    [("key", pa.string()), ("sha256", pa.string())]
    + [(f"{kind}_name", pa.string()) for kind in ("media", "json")]
    + [(f"{kind}_{what}", pa.int64()) for kind in ("media", "json") for what in ("offset", "size")]
)


def write_shard(dataset: Path, number: int, rng: random.Random) -> str:
    """A tar of random media, and its index; the tar's hash."""
    keys = [f"{number:06d}_{at:05d}" for at in range(SAMPLES)]
    media = [rng.randbytes(rng.randrange(1500, 4000)) for _ in keys]
    members = [
        {"__key__": key, "mp4": data, "json": json.dumps({"key": key}).encode()}
        for key, data in zip(keys, media, strict=True)
    ]
    places, digest = store.write_tar(dataset / "clips" / f"{number:06d}.tar", members)
    rows = [
        {"key": key, "sha256": store.sha256(data), "media_name": "mp4", "json_name": "json"}
        | dict(zip(("media_offset", "media_size"), place["mp4"], strict=True))
        | dict(zip(("json_offset", "json_size"), place["json"], strict=True))
        for key, data, place in zip(keys, media, places, strict=True)
    ]
    about = {"tar_sha256": digest}
    store.write_table(dataset / "index" / f"{number:06d}.parquet", rows, schema=SCHEMA, metadata=about)
    return digest


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of tiny shards that are no videos, with latents and captions."""
    dataset, rng = tmp_path_factory.mktemp("verify") / "dataset", random.Random(0)
    digests = [write_shard(dataset, number, rng) for number in range(SHARDS)]
    tables = [(dataset / "index" / f"{number:06d}.parquet").read_bytes() for number in range(SHARDS)]
    fingerprint = hashlib.sha256("".join(digests).encode()).hexdigest()
    text = pa.schema([("key", pa.string()), ("text", pa.string())])
    places = pa.schema([("key", pa.string()), ("sha256", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])
    for number in range(SHARDS):
        name, data = f"{number:06d}", [rng.randbytes(700) for _ in range(SAMPLES)]
        keys = [f"{name}_{at:05d}" for at in range(SAMPLES)]
        samples = [{"__key__": key, "safetensors": part} for key, part in zip(keys, data, strict=True)]
        found, digest = store.write_tar(dataset / "latents/vae" / f"{name}.tar", samples)
        rows = [
            {"key": key, "sha256": store.sha256(part)}
            | dict(zip(("offset", "size"), place["safetensors"], strict=True))
            for key, part, place in zip(keys, data, found, strict=True)
        ]
        store.write_table(
            dataset / "latents/vae" / f"{name}.parquet", rows, schema=places, metadata={"tar_sha256": digest}
        )
        about = {store.FINGERPRINT: fingerprint}
        texts = [{"key": key, "text": f"of {key}"} for key in keys]
        store.write_table(dataset / "captions/dense" / f"{name}.parquet", texts, schema=text, metadata=about)
        store.write_table(dataset / "quarantine" / f"{name}.parquet", [], schema=text)
    counts = {"format": 1, "shards": SHARDS, "samples": SHARDS * SAMPLES, "fingerprint": fingerprint}
    store.write_json(dataset / "dataset.json", counts | {"index_sha256": hashlib.sha256(b"".join(tables)).hexdigest()})
    return dataset


@pytest.fixture
def dataset(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "dataset")
    return tmp_path / "dataset"


def about(dataset: Path) -> dict[str, object]:
    return dict(json.loads((dataset / "dataset.json").read_text()))


def damages(dataset: Path, kind: str = "clips", shards: Sequence[int] = range(SHARDS)) -> list[Damage]:
    fingerprint = str(about(dataset)["fingerprint"])
    return [damage for number in shards for damage in check(str(dataset), fingerprint, (kind, number))]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << at % 8
    path.write_bytes(bytes(data))


def test_a_sound_dataset_is_said_to_be(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(dataset=str(sound), workers=2)
    said = capsys.readouterr().out
    assert "clips, quarantine, captions/dense, latents/vae" in said
    assert "all is as it was written" in said
    with serve(sound) as server:
        verify(dataset=server.url)
        verify(dataset=server.url, name="latents/vae", part="1/2")
        assert {path for path in server.asked if path.endswith("tar")} == {
            *(f"clips/{number:06d}.tar" for number in range(SHARDS)),
            "latents/vae/000001.tar",
        }


def test_damage_is_listed_counted_and_gives_exit_code_1(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(dataset / "clips/000001.tar", 512 + 100)  # in the JSON member that comes first
    flip(dataset / "clips/000001.tar", 3 * 512 + 100)
    (dataset / "latents/vae/000002.tar").unlink()
    with pytest.raises(SystemExit) as raised:
        verify(dataset=str(dataset), workers=1)
    assert raised.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert "clips/000001.tar 000001_00000.mp4 changed" in lines
    assert "latents/vae/000002.tar - missing" in lines
    assert lines[-1].startswith("DAMAGED: 2 files")
    verify(dataset=str(dataset), name="captions/dense")
    with pytest.raises(SystemExit):
        verify(dataset=str(dataset), name="latents/vae")
    verify(dataset=str(dataset), name="latents/vae", part="0/3")


@pytest.mark.parametrize("kind", ["clips", "latents/vae"])
def test_every_flipped_bit_of_a_tar_is_found(kind: str, dataset: Path) -> None:
    path = dataset / kind / "000001.tar"
    sound_bytes, rng = path.read_bytes(), random.Random(1)
    for _ in range(50):
        flip(path, rng.randrange(len(sound_bytes)))
        assert damages(dataset, kind, [1])
        path.write_bytes(sound_bytes)
    assert not damages(dataset, kind)


def test_a_corrupt_header_is_told_from_corrupt_media(dataset: Path) -> None:
    flip(dataset / "clips/000000.tar", 10)
    assert damages(dataset) == [Damage("clips/000000.tar", "000000_00000.json", "corrupt header")]


def test_a_cut_tar_names_what_is_lost(dataset: Path) -> None:
    path = dataset / "clips/000002.tar"
    data = path.read_bytes()
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    for cut in (members[4].offset, members[4].offset_data + 10, members[0].offset + 5):
        path.write_bytes(data[:cut])
        lost = [member.name for member in members if member.offset_data + member.size > cut]
        assert damages(dataset) == [Damage("clips/000002.tar", name, "cut off") for name in lost]
    path.write_bytes(data[:-1024])
    assert [damage.kind for damage in damages(dataset)] == ["bytes outside of the members differ"]


def replace(dataset: Path) -> None:
    shutil.copy(dataset / "clips/000000.tar", dataset / "clips/000001.tar")


def rewrite(dataset: Path) -> None:
    """The same names, other contents: curated again without the index."""
    shutil.move(dataset / "index", dataset / "kept")
    write_shard(dataset, 1, random.Random(5))
    shutil.rmtree(dataset / "index")
    shutil.move(dataset / "kept", dataset / "index")


def emptied(dataset: Path) -> None:
    (dataset / "clips/000001.tar").write_bytes(b"")


def missing(dataset: Path) -> None:
    (dataset / "clips/000001.tar").unlink()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (replace, "another tar, or changed since it was indexed"),
        (rewrite, "another tar, or changed since it was indexed"),
        (emptied, "empty"),
        (missing, "missing"),
    ],
)
def test_a_tar_that_is_another_or_gone_is_one_line(change: Callable[[Path], None], kind: str, dataset: Path) -> None:
    change(dataset)
    assert damages(dataset) == [Damage("clips/000001.tar", "", kind)]


@pytest.mark.parametrize("kind", ["index", "captions/dense", "latents/vae"])
def test_damaged_tables_are_found(kind: str, dataset: Path) -> None:
    path, rng = dataset / kind / "000001.parquet", random.Random(2)
    data, rows = path.read_bytes(), pq.read_table(path)
    end = len(data) if kind == "index" else len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # the footer
    for _ in range(50):
        flip(path, rng.randrange(end))
        found = damages(dataset, "clips" if kind == "index" else kind, [1])
        if kind == "index":
            assert found or whole(str(dataset), about(dataset))
        else:
            assert found or pq.read_table(path).equals(rows), "what is not found changes nothing"
        path.write_bytes(data)
    path.unlink()
    assert "missing" in damages(dataset, "clips" if kind == "index" else kind)[0].kind


def test_the_pages_of_a_table_have_checksums(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string())])
    path = tmp_path / "table.parquet"
    store.write_table(path, [{"text": "a word that is found"}], schema=schema)
    at = path.read_bytes().index(b"found")
    flip(path, at)
    assert pq.read_table(io.BytesIO(path.read_bytes()))["text"][0].as_py() != "a word that is found"
    (tmp_path / "index").mkdir()
    shutil.copy(path, tmp_path / "index/000000.parquet")
    assert "unreadable" in check(str(tmp_path), "", ("clips", 0))[0].kind


def test_an_index_that_dataset_json_does_not_know_is_found(dataset: Path) -> None:
    assert whole(str(dataset), about(dataset)) == []
    write_shard(dataset, 2, random.Random(9))
    assert {damage.kind for damage in whole(str(dataset), about(dataset))} == {"changed", "of other shards"}
    assert not damages(dataset)
    counted = about(dataset) | {"samples": 5}
    assert any("counts 5 samples" in damage.kind for damage in whole(str(dataset), counted))


def test_an_unknown_sidecar_is_a_mistake(sound: Path) -> None:
    with pytest.raises(DataError, match=r"no sidecar name=latents/none; it has captions/dense, latents/vae"):
        verify(dataset=str(sound), name="latents/none")


def test_sidecars_of_another_dataset_are_told(dataset: Path) -> None:
    found = check(str(dataset), "another", ("captions/dense", 0))
    assert [damage.kind for damage in found] == ["made for another dataset"]


def test_of_jobs_that_share_the_shards_one_looks_at_the_whole(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
    store.write_json(dataset / "dataset.json", about | {"samples": about["samples"] + 1})
    said = []
    for part in ("0/2", "1/2"):
        with pytest.raises(SystemExit) if part == "0/2" else nullcontext():
            verify(dataset=str(dataset), part=part)
        said.append("dataset.json" in capsys.readouterr().out)
    assert said == [True, False]
