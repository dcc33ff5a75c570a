"""VAEs whose copies are known: their figures, the videos beside each other, and what is left out by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dit_video.errors import DataError
from dit_video.evaluation import fvd
from dit_video.evaluation.clips import Cut, in_folder
from dit_video.evaluation.measure import Subject, measure, plain
from dit_video.media.image import read_image
from dit_video.media.read import read
from tests.unit.dit_video.evaluation.conftest import Darker

Measured = Callable[..., tuple[dict[str, Any], Path]]


def test_figures_of_clips_and_of_all_are_those_of_the_copies(measured: Measured) -> None:
    results, _ = measured(0, 10)
    same, darker = results["vaes"]
    assert [clip["name"] for clip in results["clips"]] == ["a.mp4", "b.mp4", "c.png"]
    assert [clip["frames"] for clip in results["clips"]] == [5, 6, 1]
    assert same["figures"]["psnr_db"]["mean"] == math.inf
    for clip in results["clips"]:
        assert clip["vaes"][1]["psnr_db"] == pytest.approx(20 * math.log10(25.5))
        assert clip["vaes"][1]["motion"] in (None, 0.0)
    for name in ("psnr_db", "ssim", "motion", "flicker", "detail"):
        values = [clip["vaes"][1][name] for clip in results["clips"] if clip["vaes"][1][name] is not None]
        assert darker["figures"][name]["mean"] == pytest.approx(np.mean(values))
        assert darker["figures"][name]["count"] == len(values)
    assert darker["figures"]["lpips"] is None
    assert same["channels"] == darker["channels"]
    assert len(darker["channels"]["variance"]) == 3


def test_a_vae_s_figures_do_not_depend_on_those_beside_it(measured: Measured) -> None:
    alone, beside = measured(10)[0]["vaes"][0], measured(0, 10)[0]["vaes"][1]
    assert alone == beside


def test_videos_and_pictures_are_written_for_all_clips(measured: Measured) -> None:
    results, out = measured(0, 10)
    for clip in results["clips"]:
        path = out / clip["shown"]
        shown = read(path).frames if clip["fps"] else read_image(path)[None]
        assert len(shown) == clip["frames"]
        height, width = shown.shape[1:3]
        errors = shown[0, height // 2 + 8 :, width // 3 + 8 : 2 * width // 3 - 8]
        assert errors.max() < 12, "no error is black"


def test_the_video_distance_is_that_of_both_sides_features(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def network(video: Any) -> Any:
        return video.mean((2, 3, 4))

    def run() -> Any:
        originals, subject = fvd.Features(network), Subject("x", Darker(10), features=fvd.Features(network))
        found = measure([subject], in_folder(clips, most=9), Cut(frames=6), out=tmp_path, originals=originals)
        return found["vaes"][0]["fvd"]

    assert run() is None, "all clips are too short"
    monkeypatch.setattr(fvd, "FRAMES", 4)
    assert run() == {"value": pytest.approx(3 * 10**2, rel=1e-3), "clips": 2}


def test_a_clip_that_cannot_be_decoded_is_left_out_by_name(clips: Path, tmp_path: Path) -> None:
    data = (clips / "b.mp4").read_bytes()
    found = in_folder(clips, most=9)
    (clips / "b.mp4").write_bytes(data[: len(data) // 2])
    results = measure([Subject("x", Darker(3))], found, Cut(frames=6), out=tmp_path / "out")
    assert [item["name"] for item in results["damaged"]] == ["b.mp4"]
    assert [clip["name"] for clip in results["clips"]] == ["a.mp4", "c.png"]
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 2
    with pytest.raises(DataError, match="no clip could be decoded"):
        measure([Subject("x", Darker(3))], found[1:2], Cut(frames=6), out=tmp_path / "out")


def test_names_of_files_are_plain() -> None:
    assert plain("a folder/b.c.mp4") == "a-folder-b-c"
    assert plain("../../x.mp4") == "x"
    assert plain("….mp4") == "clip"
    assert len(plain("y" * 200)) == 60
