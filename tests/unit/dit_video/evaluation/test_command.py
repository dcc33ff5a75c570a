"""The command: runs, folders of diffusers and datasets in; evaluation.json, a page and a table out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from dit_video.errors import ConfigError, DataError
from dit_video.evaluation.clips import Cut
from dit_video.evaluation.command import check, evaluate, finite, is_dataset, named, of_dataset
from tests.fakes.fake.published import saved


def test_vaes_of_both_kinds_are_measured_side_by_side(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(saved(family, tmp_path / family)) for family in ("wan-2.1", "dc-ae")]
    evaluate(vae=paths, source=str(clips), out=str(tmp_path / "out"), size="24x16", frames=3, device="cpu")
    results = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [item["name"] for item in results["vaes"]] == ["wan-2.1", "dc-ae"]
    assert results["vaes"][0]["kind"] == "AutoencoderKLWan"
    assert results["vaes"][1]["channels"]["kl"] == ["inf"] * 4
    assert {(clip["width"], clip["height"]) for clip in results["clips"]} == {(24, 16)}
    assert len(results["vaes"][0]["vae_hash"]) == 64
    said = capsys.readouterr().out
    assert "LPIPS is left out" in said
    assert "wan-2.1" in said
    assert str(tmp_path / "out" / "evaluation.html") in said


def test_held_out_clips_of_a_dataset_are_taken(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from datamodules.dataset import index

    found = index.load(dataset)
    held = {found.key[row] for row in index.held_out(found, 0.7).nonzero()[0]}
    assert is_dataset(str(dataset))
    assert 0 < len(held) <= len(found)
    taken = of_dataset(str(dataset), most=99, validation=0.7)
    assert {clip.name for clip in taken} == held
    clip = taken[0]
    assert next(clip.frames(Cut(frames=1))).ndim == 3
    assert len(of_dataset(str(dataset), most=2, validation=0.0)) == 2
    assert "of what was trained on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vae": []}, "names no VAE"),
        ({"frames": 0}, "frames=0"),
        ({"clips": 0}, "clips=0"),
        ({"fps": 0.0}, "fps=0.0"),
        ({"start": 1.0}, "start=1.0"),
        ({"shown": -1}, "shown=-1"),
        ({"size": "0x8"}, "has no pixels"),
        ({"vae": ["a", "a"]}, "twice"),
        ({"vae": "runs/vae", "precision": "bfloat16"}, "is for VAEs of diffusers"),
    ],
)
def test_mistakes_are_one_line(clips: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    given = {"vae": "runs/vae", "source": str(clips), "out": str(tmp_path / "out")} | settings
    with pytest.raises(ConfigError, match=message):
        evaluate(**given)
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        evaluate(vae="runs/vae", source=str(tmp_path / "nowhere"))


def test_names_are_as_short_as_tells_them_apart() -> None:
    assert named(["runs/a", "runs/b"]) == {"runs/a": "a", "runs/b": "b"}
    assert list(named(["x/vae", "y/vae"]).values()) == ["x/vae", "y/vae"]
    assert list(named(["hub:maker/model", "z"]).values()) == ["model", "z"]
    assert list(named(["vae", "x/vae"]).values()) == ["vae", "x/vae"]


def test_what_json_has_no_number_for_is_text() -> None:
    assert finite({"a": [math.inf, 1.5, (-math.inf,)], "b": None}) == {"a": ["inf", 1.5, ["-inf"]], "b": None}


def test_numbers_that_ask_for_something_pass() -> None:
    check(Cut(frames=1, fps=0.5, size=(1, 1), start=0.99), clips=1, shown=0)
