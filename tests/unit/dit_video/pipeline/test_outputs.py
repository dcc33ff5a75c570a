"""Where videos go: what cannot be written is said before anything is made, and no half-written file stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dit_video.errors import RequestError
from dit_video.media.image import read_image
from dit_video.media.read import read
from dit_video.pipeline import outputs
from dit_video.pipeline.jobs import Job

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)


def jobs(*names: str) -> list[Job]:
    return [Job(prompt="", name=name, place=f"line {number}") for number, name in enumerate(names, start=1)]


def test_names_are_in_the_folder(tmp_path: Path) -> None:
    assert outputs.in_folder(jobs("a.mp4", "deep/b.PNG", "./c.jpg"), tmp_path) == [
        tmp_path / "a.mp4",
        tmp_path / "deep/b.PNG",
        tmp_path / "c.jpg",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a.mp4", "../b.mp4"), r"line 2: name=\.\./b\.mp4 leaves the folder"),
        (("a/../../b.mp4",), "line 1: .*leaves"),
        (("..\\b.mp4",), "line 1: .*leaves"),
        (("/tmp/b.mp4",), "line 1: .*leaves"),
        (("a.mp4", "b.mp4", "./a.mp4"), r"line 3: name=\./a\.mp4 is that of line 1"),
        (("b.mp4/a.mp4", "b.mp4"), r"line 1: name=b\.mp4/a\.mp4 lies within that of line 2"),
        (("a",), "line 1: name=a has none of the suffixes"),
        (("a.gif",), "line 1: .*none of the suffixes that can be written: .mp4, .png"),
        ((".mp4",), "line 1: .*none of the suffixes"),
    ],
)
def test_names_that_are_none_are_said(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        outputs.in_folder(jobs(*names), tmp_path)


def test_the_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for out in ("taken", "new.mp4"):
        with pytest.raises(RequestError, match=f"out=.*{out} is a file"):
            outputs.in_folder(jobs("a.mp4"), tmp_path / out)


def test_suffixes_say_what_fits() -> None:
    outputs.check(Path("a.MP4"), frames=9)
    outputs.check(Path("a.png"), frames=1)
    for path in ("a.gif", "a.webm", "a"):
        with pytest.raises(RequestError, match=rf"out={path} has none of the suffixes"):
            outputs.check(Path(path))
    with pytest.raises(RequestError, match=r"a\.png holds one picture, not 9 frames"):
        outputs.check(Path("a.png"), frames=9)


def test_places_are_made_and_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "old.mp4").write_bytes(b"old")
    outputs.prepare(tmp_path / "old.mp4")
    outputs.prepare(tmp_path / "new/deep/a.mp4")
    assert (tmp_path / "old.mp4").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "new", "old.mp4"]


@pytest.mark.parametrize("name", ["file/a.mp4", "folder", "x" * 300 + ".mp4", "a\0b.mp4", "a\ud800.mp4"])
def test_places_that_cannot_be_written_are_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(RequestError, match=r"cannot be written|is a folder"):
        outputs.prepare(tmp_path / name)


def test_files_are_written_by_their_suffix(tmp_path: Path) -> None:
    outputs.save(tmp_path / "a.MP4", FRAMES, fps=8)
    assert read(tmp_path / "a.MP4").frames.shape == FRAMES.shape
    outputs.save(tmp_path / "a.png", FRAMES[:1], fps=8)
    assert np.array_equal(read_image(tmp_path / "a.png"), FRAMES[0])
    assert len(list(tmp_path.iterdir())) == 2


def test_what_fails_midway_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, frames: object, *, fps: float) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "a.mp4").write_bytes(b"old")
    monkeypatch.setattr("dit_video.media.write.write", full)
    with pytest.raises(RequestError, match=r"a\.mp4 cannot be written: No space left on device"):
        outputs.save(tmp_path / "a.mp4", FRAMES, fps=8)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.mp4", b"old")]
