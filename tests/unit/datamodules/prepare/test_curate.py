from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
from contextlib import nullcontext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from datamodules.prepare import curate as curation
from datamodules.prepare import store
from datamodules.prepare.curate import Shard, assemble, curate
from datamodules.prepare.curation import parts
from datamodules.prepare.curation.clip import Rules
from datamodules.prepare.curation.scores import SCORES
from datamodules.prepare.curation.sources import Source, clean_caption
from dit_video.errors import ConfigError, DataError

CLIPS = Path(__file__).parents[5] / "shared" / "clips"


def fingerprint(folder: Path) -> str:
    return json.loads((folder / "dataset.json").read_text())["fingerprint"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_the_shards(finished: Path) -> None:
    import gc

    import webdataset  # 1.0.2 leaves the shards it has read open

    urls = [str(path) for path in sorted((finished / "clips").glob("*.tar"))]
    rows = [row for path in sorted((finished / "index").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    dataset = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
    seen = {sample["__key__"]: sample for sample in dataset}
    assert set(seen) == {row["key"] for row in rows}
    for row in rows:
        sample = seen[row["key"]]
        assert len(sample[row["media_name"]]) == row["media_size"]
        assert json.loads(sample["json"])["source"] == row["source"]
    del dataset
    gc.collect()


def test_a_shard_is_not_silent_while_it_is_written(tmp_path: Path) -> None:
    sources = tuple(Source(path=name, caption="") for name in "abc")
    rules = Rules(max_seconds=2.0, min_seconds=0.5, crf=14)
    shard = Shard(number=0, folder=tmp_path, dataset=tmp_path / "new", sources=sources, rules=rules, plan="p")
    for at in range(len(sources)):
        parts.save(shard.making() / f"{at:05d}", parts.refused("why", None))
    told: list[str] = []
    assemble(shard, told.append)
    assert told == ["a", "b", "c"]
    assert shard.table("index").is_file()


def test_a_corrupt_file_is_quarantined_and_the_rest_works(finished: Path) -> None:
    refused = [row for path in (finished / "quarantine").iterdir() for row in pq.read_table(path).to_pylist()]
    why = {row["source"]: row["reason"] for row in refused}
    assert set(why) == {"corrupt.mp4", "notes.txt"}
    assert why["corrupt.mp4"].startswith("is not a readable video:")
    assert why["notes.txt"] == "ignored: neither video nor image"
    about = json.loads((finished / "dataset.json").read_text())
    assert (about["samples"], about["images"], about["quarantined"], about["shards"]) == (30, 4, 1, 8)
    assert (about["format"], about["ignored"], about["dropped"]) == (2, 1, 0)
    assert about["reasons"] == {"is not a readable video": 1}


def test_again_elsewhere_and_in_processes_is_the_same(raw: Path, finished: Path, tmp_path: Path) -> None:
    curate(source=str(raw), dataset=str(tmp_path / "b"), workers=2, memory_gb=64)
    assert fingerprint(tmp_path / "b") == fingerprint(finished)
    for path in (finished / "clips").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "clips" / path.name).read_bytes()


def test_a_rerun_finishes_the_rest(raw: Path, dataset: Path) -> None:
    before = fingerprint(dataset)
    kept = dataset / "index" / "000001.parquet"
    stamp = kept.stat().st_mtime_ns
    (dataset / "index" / "000000.parquet").unlink()
    (dataset / "clips" / "000000.tar").unlink()
    curate(source=str(raw), dataset=str(dataset), workers=0)
    assert fingerprint(dataset) == before
    assert kept.stat().st_mtime_ns == stamp


def test_parts_make_the_same_dataset_and_the_last_one_says_so(raw: Path, finished: Path, tmp_path: Path) -> None:
    for part in ("2/3", "0/3", "1/3"):
        assert not (tmp_path / "b" / "dataset.json").exists()
        curate(source=str(raw), dataset=str(tmp_path / "b"), part=part, workers=0)
        made = {int(path.stem) % 3 for path in (tmp_path / "b" / "index").glob("*.parquet")}
        assert int(part[0]) in made
    assert json.loads((tmp_path / "b" / "dataset.json").read_text()) == json.loads(
        (finished / "dataset.json").read_text()
    )
    with pytest.raises(ConfigError, match="part=3/3"):
        curate(source=str(raw), dataset=str(tmp_path / "b"), part="3/3", workers=0)


def finish_together(raw: str, dataset: str, part: str, barrier: Barrier, written: str) -> None:
    """Curate a part, and look for what is missing at the same moment as all others."""
    make, write = curation.make, store.write_json

    def made(*shards: Any, **about: Any) -> None:
        make(*shards, **about)
        barrier.wait(60)

    def wrote(path: Path, value: Any) -> None:
        with Path(written).open("a") as file:
            file.write(f"{path.name}\n")
        write(path, value)

    curation.make, store.write_json = made, wrote
    curate(source=raw, dataset=dataset, workers=0, part=part)


def test_parts_that_end_at_the_same_moment_write_the_end_once(raw: Path, finished: Path, tmp_path: Path) -> None:
    context, new = multiprocessing.get_context("fork"), tmp_path / "new"
    barrier = context.Barrier(4)
    given = [(str(raw), str(new), f"{at}/4", barrier, str(tmp_path / "written")) for at in range(4)]
    processes = [context.Process(target=finish_together, args=each) for each in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert (new / "dataset.json").read_bytes() == (finished / "dataset.json").read_bytes()
    assert (tmp_path / "written").read_text() == "dataset.json\n"
    assert not (new / ".making").exists()


@pytest.mark.parametrize("inside", [False, True])
def test_an_element_whose_shards_are_in_other_hands_begins_again(
    inside: bool, raw: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dataset / "index/000003.parquet").unlink()
    monkeypatch.setattr(store, "claim", lambda path, wait=False: None)
    monkeypatch.setattr(store, "inside", lambda: inside)
    with pytest.raises(SystemExit, match="75") if inside else nullcontext():
        curate(source=str(raw), dataset=str(dataset), workers=0, part="3/8")
    curate(source=str(raw), dataset=str(dataset), workers=0, part="4/8")


def test_the_index_is_hashed_as_it_lies(finished: Path) -> None:
    about = json.loads((finished / "dataset.json").read_text())
    tables = b"".join(path.read_bytes() for path in sorted((finished / "index").glob("*.parquet")))
    assert about["index_sha256"] == hashlib.sha256(tables).hexdigest()


def test_every_column_is_there(finished: Path) -> None:
    table = pq.read_table(finished / "index" / "000000.parquet")
    assert set(SCORES) < set(table.column_names)
    for row in table.to_pylist():
        video = row["kind"] == "video"
        assert len(row["hashes"]) == (3 if video else 1)
        assert math.isnan(row["motion"]) != video
        assert 0 <= row["brightness"] <= 1
    refused = pq.read_schema(finished / "quarantine" / "000000.parquet")
    assert refused.names == ["source", "reason", "start_seconds", "seconds", "thumbnail"]


def test_mistakes(raw: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="other settings"):
        curate(source=str(raw), dataset=str(dataset), max_seconds=1.0, workers=0)
    with pytest.raises(DataError, match="not a folder"):
        curate(source=str(tmp_path / "absent"), dataset=str(tmp_path / "x"), workers=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no videos or images"):
        curate(source=str(tmp_path / "empty"), dataset=str(tmp_path / "x"), workers=0)
    (tmp_path / "empty" / "a.mp4").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"none of the files.*a\.mp4"):
        curate(source=str(tmp_path / "empty"), dataset=str(tmp_path / "x"), workers=0)
    with pytest.raises(DataError, match="longest=8 must be at least"):
        curate(source=str(raw), dataset=str(tmp_path / "x"), longest=8, workers=0)
    (tmp_path / "bad.csv").write_text("name,text\n")
    with pytest.raises(DataError, match="columns file,caption"):
        curate(source=str(raw), dataset=str(tmp_path / "y"), captions_csv=str(tmp_path / "bad.csv"), workers=0)


@pytest.mark.parametrize(
    "wrong",
    [{"shard_samples": 0}, {"workers": -1}, {"crf": -1}, {"crf": 99}, {"cut_threshold": math.nan}, {"memory_gb": 0.0}],
    ids=str,
)
def test_a_number_out_of_its_range(wrong: dict[str, Any], raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be at (least|most)"):
        curate(source=str(raw), dataset=str(tmp_path / "x"), **wrong)
    assert not (tmp_path / "x").exists()


def test_a_dataset_that_cannot_be_made(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(ConfigError, match=r"cannot be made .*choose another dataset=DIR"):
            curate(source=str(raw), dataset=str(tmp_path / place), workers=0)


def test_shards_that_another_process_makes_are_said_to_be_its(
    raw: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "index/000003.parquet").unlink()
    monkeypatch.setattr(store, "claim", lambda path: None)
    curate(source=str(raw), dataset=str(dataset), workers=0)
    assert "shards in the hands of another process: 1, the first 000003" in capsys.readouterr().out


def test_captions_are_cleaned() -> None:
    assert clean_caption(" a\x00b\n\tc\u202e ") == "a b c"
    assert len(clean_caption("x" * 100_000)) == 2000


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not here")
def test_real_cuts_are_found() -> None:
    from datamodules.prepare.curation.cuts import Scorer, shots
    from dit_video.media.read import frames

    scorer = Scorer()
    changes = [scorer.change(frame.image) for frame in frames(CLIPS / "natural" / "bikes.mp4", longest=256)]
    assert [start for start, _ in shots(changes, threshold=27.0)] == [0, 30, 76, 137, 187, 242]
    assert np.isfinite([change.score for change in changes]).all()


def test_a_url_cannot_be_written_to(raw: Path) -> None:
    with pytest.raises(DataError, match=r"dataset=s3://bucket/x must be a folder"):
        curate(source=str(raw), dataset="s3://bucket/x", workers=0)
