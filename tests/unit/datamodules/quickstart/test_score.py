"""Scores: drawn samples are right, spoiled ones wrong, and only made frames are judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from datamodules.quickstart.requests import FPS, FRAMES, GIVEN, save
from datamodules.quickstart.score import as_verdict, described, kept, score_captions, score_samples
from datamodules.shapes.captions import describe
from datamodules.shapes.checker import score
from datamodules.shapes.draw import draw
from datamodules.shapes.scene import Scene, Thing, draw_scene
from dit_video.media.image import write_image
from dit_video.media.write import write
from dit_video.seeds import rng

SCENE = Scene((Thing("small", "red", "circle"),), "white", "left", "slowly")
BLANK = np.zeros((FRAMES, 32, 48, 3), np.uint8)


def test_decibels() -> None:
    a = np.zeros((2, 4, 4, 3), np.uint8)
    assert kept(a, a) == 99.0
    assert kept(a, a + np.uint8(255)) == pytest.approx(0.0)
    assert kept(a, a + np.uint8(51)) == pytest.approx(20 * np.log10(5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished quickstart of seven samples: five as drawn, one blank, one whose given frames were spoiled."""
    (tmp_path / "samples").mkdir()
    video = draw(SCENE, rng(0, "test"), height=32, width=48, frames=FRAMES, fps=FPS)
    write_image(tmp_path / "a.png", video[0])
    write(tmp_path / "start.mp4", video[:GIVEN], fps=FPS, crf=0)
    write(tmp_path / "end.mp4", video[-GIVEN:], fps=FPS, crf=0)
    spoiled = np.concatenate([np.zeros_like(video[:GIVEN]), video[GIVEN:]])
    samples = {
        "wide_0": ("wide", video, {"held_out": False}),
        "wide_1": ("wide", BLANK, {"held_out": True}),
        "wide_2": ("wide", video, {"held_out": True}),
        "image_0": ("image_to_video", video, {"image": str(tmp_path / "a.png")}),
        "forward_0": ("forward", video, {"video": str(tmp_path / "start.mp4")}),
        "forward_1": ("forward", spoiled, {"video": str(tmp_path / "start.mp4")}),
        "backward_0": ("backward", video, {"video": str(tmp_path / "end.mp4")}),
    }
    lines = []
    for name, (row, frames, more) in samples.items():
        write(tmp_path / f"samples/{name}.mp4", frames, fps=FPS, crf=0)
        line = {"name": f"{name}.mp4", "row": row, "truth": describe(SCENE), "held_out": False}
        lines.append(line | more)
    save(tmp_path / "requests.jsonl", lines)
    return tmp_path


def test_rows_and_given_frames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.quickstart.score.threads", lambda: 1)
    found = score_samples(folder)
    checker = found["checker"]
    assert checker["wide"]["n"] == 3
    assert checker["wide"]["all"] == pytest.approx(2 / 3)
    assert (checker["in_distribution"]["all"], checker["held_out"]["all"]) == (1.0, 0.5)
    assert set(checker) == {"wide", "in_distribution", "held_out"}
    assert found["image_to_video"]["all"] == 1.0
    assert found["image_to_video"]["psnr_db"] > 30
    assert found["extension"]["forward"]["all"] == 1.0  # given frames, spoiled or not, are not judged
    assert found["extension"]["backward"]["psnr_db"] > 30
    assert found["extension"]["forward"]["psnr_db"] < found["extension"]["backward"]["psnr_db"]
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    assert [name for name, right in verdicts.items() if not right["all"]] == ["wide_1.mp4"]


def test_captions_are_judged_by_attribute() -> None:
    truth = describe(SCENE)
    assert all(described(truth, truth).values())
    wrong = [name for name, right in described(truth.replace("red", "blue"), truth).items() if not right]
    assert wrong == ["colour", "all"]
    wrong = [name for name, right in described(truth.replace("left", "right"), truth).items() if not right]
    assert wrong == ["motion", "all"]
    assert not any(described("a thing", truth).values())
    still = describe(Scene(SCENE.things, "white", None))
    assert not described(truth, still)["motion"]


def test_shares_of_captions_are_means() -> None:
    truth = describe(SCENE)
    found = score_captions({"a": truth, "b": "nothing", "c": truth, "d": truth}, {"a": truth, "b": truth, "d": truth})
    assert found["n"] == 3
    assert found["all"] == found["attributes"] == pytest.approx(2 / 3)
    assert score_captions({"x": truth}, {}) == {}


def test_the_verdict_of_a_scene_confirms_it() -> None:
    random = rng(0, "test")
    for number in range(50):
        scene = draw_scene(random, things=1 + number % 2)
        assert all(score(as_verdict(scene), scene).values())
