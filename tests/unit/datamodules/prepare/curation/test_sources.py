"""Which files are sources, and what becomes of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake import zoo

from datamodules.prepare.curation.sources import find_sources, kind_of, listed, read_captions, written
from dit_video.errors import DataError


@pytest.mark.parametrize("form", ["mp4", "mkv", "avi", "webm"])
def test_videos_are_known_by_their_bytes(tmp_path: Path, form: str) -> None:
    (tmp_path / "file").write_bytes(zoo.video(form))
    assert kind_of(tmp_path / "file") == "video"
    (tmp_path / "file.png").write_bytes(zoo.video(form))
    assert kind_of(tmp_path / "file.png") == "video"


def test_images_and_others(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(zoo.png(4, 4))
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes(b"GOOD " * 100)
    assert [kind_of(tmp_path / name) for name in ("a.mp4", "b.jpg", "c.txt", "absent")] == [
        "image",
        "image",
        None,
        None,
    ]


def test_everything_is_listed_or_ignored(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".secret").mkdir(parents=True)
    (tmp_path / "deep" / "a.MP4").write_bytes(b"")
    (tmp_path / "deep" / "notes.txt").write_bytes(b"hello")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "gone.mkv").symlink_to("nowhere")
    media, ignored = listed(tmp_path)
    assert media == ["deep/a.MP4", "gone.mkv"]
    assert {each.path: each.reason for each in ignored} == {
        "deep/.secret": "hidden",
        "deep/notes.txt": "neither video nor image",
        "up": "a link to a folder",
    }


def test_the_captions_are_no_ignored_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "captions.csv").write_text("file,caption\na.mp4,a thing\n")
    (source,), ignored = find_sources(tmp_path, None)
    assert (source.path, source.caption, ignored) == ("a.mp4", "a thing", [])
    (tmp_path / "broken.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="must have the columns"):
        read_captions(tmp_path / "broken.csv", tmp_path)


def test_names_can_be_written_whatever_their_bytes() -> None:
    assert written(os.fsdecode(b"a\xffb.mp4")).encode() == b"a\\udcffb.mp4"
    assert written("курица\n") == "курица\n"
