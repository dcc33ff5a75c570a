from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.dataset import index, sidecars
from datamodules.prepare.captions import captions
from dit_video.errors import ConfigError, DataError


def test_listed_sources_get_their_caption(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "full.csv").write_text('file,caption\n00.mp4,"one, two"\nraw/deep/1.png,three\nabsent.mp4,x\n')
    captions(dataset=str(dataset), captions_csv=str(tmp_path / "full.csv"), name="full")
    found = index.load(dataset)
    texts = dict(zip(found.source, sidecars.load_captions(found, "full"), strict=True))
    assert texts.pop("00.mp4") == "one, two"
    assert texts.pop("deep/1.png") == "three"
    assert set(texts.values()) == {None}


def test_parts_make_the_whole(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "full.csv").write_text("file,caption\n00.mp4,one\n")
    for part in ("0/2", "1/2"):
        captions(dataset=str(dataset), captions_csv=str(tmp_path / "full.csv"), name="full", part=part)
    found = index.load(dataset)
    assert [text for text in sidecars.load_captions(found, "full") if text] == ["one"]
    assert len([*(dataset / "captions" / "full").glob("*.parquet")]) == 8


def test_mistakes(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,caption\nabsent.mp4,x\n")
    with pytest.raises(DataError, match="names none"):
        captions(dataset=str(dataset), captions_csv=str(tmp_path / "a.csv"), name="full")
    with pytest.raises(ConfigError, match="name=source"):
        captions(dataset=str(dataset), captions_csv=str(tmp_path / "a.csv"), name="source")
    with pytest.raises(DataError, match="captions_csv"):
        captions(dataset=str(dataset), captions_csv=str(tmp_path / "absent.csv"), name="full")
