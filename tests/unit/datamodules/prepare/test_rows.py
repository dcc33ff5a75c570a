from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.dataset import index
from datamodules.dataset.buckets import listed
from datamodules.prepare import rows, store
from datamodules.prepare.rows import Stage, by_shard, reader
from dit_video.errors import ConfigError, DataError, StorageError

TABLE = listed(["17x32x48", "17x48x32", "9x32x32", "1x32x48"], time=4, multiple=8)


class Sums:
    """Sums of pixels of every row, and what batches they came in."""

    def __init__(self, dataset: Path, *, batch: int = 3, workers: int = 0, **about: Any) -> None:
        self.found = index.load(dataset)
        self.loader = reader(self.found, TABLE, 12.0)
        self.batches: list[int] = []
        self.written: dict[int, dict[int, int]] = {}
        self.usable = [row for row, shape in enumerate(self.loader.shapes) if shape is not None]
        self.stage = Stage(
            found=self.found,
            folder=dataset / "scores" / "sums",
            what="summed",
            read=self.loader.pixels,
            make=self.make,
            write=self.write,
            batch=batch,
            workers=workers,
            **about,
        )

    def make(self, videos: list[np.ndarray]) -> list[int]:
        assert len({video.shape for video in videos}) == 1
        assert len(videos) == self.stage.batch, "a kernel rounds otherwise at another size"
        self.batches.append(len({id(video) for video in videos}))  # the last one fills it up
        return [int(video.sum()) for video in videos]

    def write(self, shard: int, made: dict[int, int], damaged: dict[int, str]) -> None:
        import pyarrow as pa

        assert shard not in self.written
        self.written[shard] = made
        table = [{"key": self.found.key[row]} for row in made]
        about = rows.about(self.found, damaged)
        path = rows.table(self.stage.folder, shard)
        store.write_table(path, table, schema=pa.schema([("key", pa.string())]), metadata=about)

    def run(self) -> list[int]:
        return list(self.stage.run(by_shard(self.found, self.usable)))


def damage(dataset: Path, row: int) -> None:
    """Flip a bit of a row's media."""
    found = index.load(dataset)
    path = Path(found.tar(row))
    content = bytearray(path.read_bytes())
    content[int(found.offset[row]) + 50] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("workers", [0, 1])
def test_every_row_is_done_once_with_its_own_pixels_and_every_shard_written_once(dataset: Path, workers: int) -> None:
    sums = Sums(dataset, workers=workers)
    assert sorted(sums.run()) == sums.usable
    assert sorted(sums.written) == list(range(8))
    for shard, made in sums.written.items():
        assert list(made) == [row for row in sums.usable if sums.found.shard[row] == shard]
        assert all(value == int(sums.loader.pixels(row).sum()) for row, value in made.items())


def test_batches_fill_up_across_shards(dataset: Path) -> None:
    sums = Sums(dataset)
    sizes = len({sums.loader.shapes[row] for row in sums.usable})
    sums.run()
    assert sum(batch < 3 for batch in sums.batches) <= sizes < 8


def test_a_shard_does_not_wait_for_a_rare_size_for_ever(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "HELD", 1)
    sums, most = Sums(dataset, batch=4), 0
    for _ in sums.stage.run(by_shard(sums.found, sums.usable)):
        most = max(most, sum(len(shard.made) for shard in sums.stage.open.values()))
    assert len(sums.usable) > 20
    assert most <= 4 + 4 + 4, "results of a few batches are held, whatever the dataset's size"


def test_shards_of_another_process_are_left_to_it(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums, claim = Sums(dataset), store.claim
    monkeypatch.setattr(store, "claim", lambda path: None if path.stem in {"000002", "000005"} else claim(path))
    sums.run()
    assert sorted(sums.written) == [0, 1, 3, 4, 6, 7]


def test_shards_that_another_process_left_undone_are_done_at_last(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums, claim, refused = Sums(dataset), store.claim, {"000002"}

    def once(path: Path) -> store.Claim | None:
        if path.stem in refused:
            refused.remove(path.stem)
            return None
        return claim(path)

    monkeypatch.setattr(store, "claim", once)
    assert sorted(sums.run()) == sums.usable
    assert sorted(sums.written) == list(range(8))


def test_an_end_midway_leaves_whole_shards_and_no_claim(dataset: Path) -> None:
    first = Sums(dataset)
    work = first.stage.run(by_shard(first.found, first.usable))
    for _ in range(20):
        next(work)
    work.close()
    folder = first.stage.folder
    assert {path.suffix for path in folder.iterdir()} == {".parquet"}
    again = Sums(dataset)
    again.run()
    assert sorted([*first.written, *again.written]) == list(range(8))
    assert 0 < len(first.written) < 8


def test_damaged_rows_are_left_out_and_named(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(dataset, 0)
    logging.getLogger("dit_video").propagate = True
    sums = Sums(dataset)
    assert sorted(sums.run()) == sums.usable
    assert sorted(row for made in sums.written.values() for row in made) == sums.usable[1:]
    key = sums.found.key[0]
    assert f"{key} is damaged and not summed" in caplog.text
    assert list(rows.damaged(sums.stage.folder, range(8))) == [key]


def test_too_many_damaged_rows_stop_the_step(dataset: Path) -> None:
    for row in (0, 1):
        damage(dataset, row)
    with pytest.raises(DataError, match=r"2 of \d+ samples are damaged, more than max_bad_fraction=0\.01"):
        Sums(dataset).run()
    shutil.rmtree(dataset / "scores")
    Sums(dataset, max_bad_fraction=0.02).run()
    with pytest.raises(ConfigError, match="max_bad_fraction"):
        Sums(dataset, max_bad_fraction=2.0)


def test_storage_that_does_not_answer_is_no_damage(dataset: Path) -> None:
    sums = Sums(dataset)

    def refuse(row: int) -> Any:
        raise StorageError(f"no answer for {row}")

    sums.stage.read = refuse
    with pytest.raises(StorageError, match="no answer for 0"):
        sums.run()


def test_the_end_says_what_stands(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sums = Sums(dataset)
    rows.finish(sums.stage, sums.usable, part="0/2", what="sum", rest="none left out")
    assert "4 of 8 shards are still missing, those of other parts" in capsys.readouterr().out
    rows.finish(sums.stage, sums.usable, part="1/2", what="sum", rest="none left out")
    assert "all 8 shards stand, 0 samples damaged" in capsys.readouterr().out
    again = Sums(dataset)
    rows.finish(again.stage, again.usable, part="0/1", what="sum", rest="none left out")
    assert not again.batches
    assert json.loads((dataset / "dataset.json").read_text())["shards"] == 8


def test_a_sidecar_needs_a_folder() -> None:
    with pytest.raises(ConfigError, match="must be a folder"):
        rows.load("https://example.org/dataset")
