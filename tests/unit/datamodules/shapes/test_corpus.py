"""The corpus is a pure function of its seed, but for rare bits of the encoder, and fits what it says of itself."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from datamodules.shapes.captions import parse
from datamodules.shapes.checker import judge, score
from datamodules.shapes.corpus import SECONDS, SIZES, scene_of, write_corpus, write_one
from datamodules.shapes.draw import fits
from dit_video.errors import ConfigError
from dit_video.media.read import read
from dit_video.seeds import rng


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def alike(one: dict[str, bytes], other: dict[str, bytes]) -> bool:
    """Equal files; videos may differ by what x264 rarely does otherwise in a process that has done much else."""
    if one.keys() != other.keys():
        return False
    for name, data in one.items():
        if not name.endswith(".mp4"):
            if data != other[name]:
                return False
            continue
        a, b = read(data).frames.astype(int), read(other[name]).frames.astype(int)
        if a.shape != b.shape or abs(a - b).mean() > 1.0:
            return False
    return True


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_two_runs_write_the_same_and_one_process_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_corpus(out=str(tmp_path / name), videos=2, images=2, described=0.5, seed=1)
    first = files(tmp_path / "a")
    assert alike(first, files(tmp_path / "b"))
    assert [name for name in first if "/" in name] == [
        "images/00000.png",
        "images/00001.png",
        "videos/00002.mp4",
        "videos/00003.mp4",
    ]
    for folder in ("images", "videos"):
        (tmp_path / "c" / folder).mkdir(parents=True)
    alone = [write_one(number, out=tmp_path / "c", images=2, seed=1) for number in (3, 0, 2, 1)]
    assert alike({name: first[name] for name in first if "/" in name}, files(tmp_path / "c"))
    for name, short, full in alone:
        assert [name, short] in rows(tmp_path / "a/captions.csv")
        assert [name, full] in rows(tmp_path / "a/truth.csv")
    assert all(row in rows(tmp_path / "a/truth.csv") for row in rows(tmp_path / "a/described.csv"))


def test_a_written_video_shows_what_its_truth_says(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for number in range(3):
        name, _, full = write_one(number, out=tmp_path, images=0, seed=2)
        video, scene = read(tmp_path / name), parse(full)
        assert scene is not None
        assert score(judge(video.frames, fps=video.fps), scene)["all"]


def test_scenes_fit_their_frames() -> None:
    random = rng(0, "test")
    for _ in range(100):
        scene, height, width, frames, fps = scene_of(random, image=False)
        assert (height, width) in SIZES
        assert fits(scene, height=height, width=width, frames=frames, fps=fps)
        assert SECONDS[0] - 0.1 <= (frames - 1) / fps <= SECONDS[1] + 0.1
    assert scene_of(random, image=True)[3] == 1


@pytest.mark.parametrize("wrong", [{"videos": 0}, {"images": -1}, {"described": 1.5}])
def test_impossible_settings_are_said(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected videos >= 1"):
        write_corpus(out=str(tmp_path), **wrong)
    assert not list(tmp_path.iterdir())
