from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from datamodules.dataset import index, sidecars
from datamodules.prepare.captions import write_sidecar
from datamodules.prepare.recaption import Job, existing, read_as, recaption, run
from dit_video.errors import ConfigError, DataError

SETTINGS = {"sizes": ["17x32x48", "17x48x32", "9x32x32", "1x32x48", "1x48x32"], "multiple": 8, "fps": 12.0}


class Counting:
    """Says how many frames of what size a clip has, and counts its clips."""

    def __init__(self, name: str = "counting@1") -> None:
        self.name, self.settings, self.seen = name, SETTINGS, 0

    def captions(self, clips: list[np.ndarray], *, max_tokens: int) -> list[str]:
        del max_tokens
        self.seen += len({id(clip) for clip in clips})  # the last one fills a batch up
        return ["x".join(map(str, clip.shape[:3])) for clip in clips]


def describe(dataset: Path, words: Counting, *, keep: str | None = None, part: str = "0/1") -> None:
    found = index.load(dataset)
    kept = existing(found, keep) if keep else {}
    job = Job(words=words, found=found, folder=dataset / "captions" / "dense", kept=kept, max_tokens=8)
    run(job, batch=3, workers=0, part=part)


def test_every_clip_gets_the_caption_of_its_own_pixels(dataset: Path) -> None:
    words = Counting()
    describe(dataset, words)
    found = index.load(dataset)
    shapes = read_as(found, SETTINGS).shapes
    assert sidecars.load_captions(found, "dense").to_list() == [
        None if shape is None else str(shape) for shape in shapes
    ]
    assert words.seen == sum(shape is not None for shape in shapes)


def test_a_rerun_does_only_what_is_missing(dataset: Path) -> None:
    describe(dataset, Counting())
    tables = sorted((dataset / "captions" / "dense").glob("*.parquet"))
    before = {path: path.read_bytes() for path in tables[1:]}
    tables[0].unlink()
    words = Counting()
    describe(dataset, words)
    found = index.load(dataset)
    assert words.seen == int((found.shard == found.shard.min()).sum())
    assert tables[0].is_file()
    assert {path: path.read_bytes() for path in tables[1:]} == before


def test_kept_captions_are_copied_with_their_model(dataset: Path) -> None:
    found = index.load(dataset)
    keys = [found.key[row] for row in np.flatnonzero(found.shard == found.shard[0])[:2]]
    write_sidecar(dataset, "hand", shard=int(found.shard[0]), keys=keys, texts=["one", "two"], model="a person")
    words = Counting()
    describe(dataset, words, keep="hand")
    rows = existing(found, "dense")
    assert [rows[key]["text"] for key in keys] == ["one", "two"]
    assert {row["model"] for key, row in rows.items() if key in keys} == {"a person"}
    assert words.seen == len(rows) - 2


def test_another_recaptioner_needs_another_name(dataset: Path) -> None:
    describe(dataset, Counting())
    with pytest.raises(ConfigError, match="choose another name"):
        describe(dataset, Counting("other@2"))


def test_another_dataset_in_the_folder_needs_another_name(dataset: Path) -> None:
    describe(dataset, Counting(), part="0/2")
    about = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps(about | {"fingerprint": "other"}))
    with pytest.raises(ConfigError, match=r"for another dataset.*name=NAME"):
        describe(dataset, Counting(), part="1/2")


def test_mistakes_are_one_line(dataset: Path) -> None:
    with pytest.raises(ConfigError, match="cannot name"):
        recaption(dataset=str(dataset), recaptioner="run", name="source")
    with pytest.raises(DataError, match="no captions/absent"):
        recaption(dataset=str(dataset), recaptioner="run", keep="absent")
