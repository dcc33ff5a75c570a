"""The command: settings and files in, MP4s out, mistakes in one line before a model is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dit_video.errors import CheckpointError, RequestError
from dit_video.media.image import read_image, write_image
from dit_video.media.read import read
from dit_video.media.write import write
from dit_video.pipeline import generate as generation
from dit_video.pipeline.command import request_of, sample
from dit_video.pipeline.denoise import Sampling
from dit_video.pipeline.jobs import Job
from dit_video.pipeline.recipe import Recipe, read_recipe
from dit_video.pipeline.request import Request
from dit_video.shapes import VideoShape

FREE: dict[str, Any] = dict.fromkeys(("prompt", "prompts", "image", "video", "extend", "size", "vae"))


def run(checkpoint: Path, out: Path | None, **settings: Any) -> None:
    defaults = FREE | {"seconds": 1.0, "seed": 0, "ema": False, "device": "cpu", "sampling": Sampling(steps=1)}
    defaults |= {"precision": "float32", "tile": None}
    sample(checkpoint=str(checkpoint), out=out and str(out), **(defaults | settings))


@pytest.fixture
def recipe(runs: tuple[Path, Path]) -> Recipe:
    return read_recipe(runs[1])[0]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds at 4 frames a second, 24 x 48 pixels."""
    frames = np.random.default_rng(0).integers(0, 256, (8, 24, 48, 3), dtype=np.uint8)
    write(tmp_path / "clip.mp4", frames, fps=4)
    return tmp_path / "clip.mp4"


def test_a_prompt_makes_a_video(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run(runs[1], tmp_path / "new/a.mp4", prompt="a red circle", size="24x16", seconds=0.5)
    video = read(tmp_path / "new/a.mp4")
    assert video.frames.shape == (4, 16, 24, 3)
    assert video.fps == 8


def test_no_seconds_make_an_image(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run(runs[1], tmp_path / "a.png", prompt="a red circle", size="24x16", seconds=0)
    assert read_image(tmp_path / "a.png").shape == (16, 24, 3)


def test_a_file_of_prompts_makes_a_video_a_line(runs: tuple[Path, Path], tmp_path: Path, clip: Path) -> None:
    lines = [
        {"prompt": "a", "name": "x.mp4", "size": "16x16", "about": {"row": "kept elsewhere"}},
        {"prompt": "b", "video": str(clip), "extend": "backward", "seconds": 0.5},
    ]
    (tmp_path / "p.jsonl").write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    run(runs[1], tmp_path / "out", prompts=str(tmp_path / "p.jsonl"), seconds=0.25)
    assert read(tmp_path / "out/x.mp4").frames.shape == (2, 16, 16, 3)
    assert read(tmp_path / "out/00001.mp4").frames.shape == (4 + 15, 16, 24, 3)


def test_given_files_come_at_the_models_size_and_rate(recipe: Recipe, clip: Path, tmp_path: Path) -> None:
    forward = request_of(Job(prompt="", video=str(clip), extend="forward", seconds=1), recipe)
    assert forward.start is not None
    assert (forward.start.shape, forward.frames, forward.end) == ((15, 16, 24, 3), 8, None)  # the aspect's nearest
    backward = request_of(Job(prompt="", video=str(clip), extend="backward", size="24x24"), recipe)
    assert backward.end is not None
    assert (backward.end.shape, backward.start) == ((15, 24, 24, 3), None)
    write_image(tmp_path / "a.png", np.zeros((50, 50, 3), np.uint8))
    image = request_of(Job(prompt="", image=str(tmp_path / "a.png"), size="16x16"), recipe)
    assert image.start is not None
    assert (image.start.shape, image.frames) == ((1, 16, 16, 3), 7)  # a second, with the image


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (Job(prompt="", image="a.png", video="b.mp4", extend="forward"), "both given"),
        (Job(prompt="", video="b.mp4"), "go together"),
        (Job(prompt="", extend="forward"), "go together"),
        (Job(prompt="", video="b.mp4", extend="up"), "expected forward or backward"),
        (Job(prompt="", size="7x7"), "no bucket"),
        (Job(prompt="", size="big"), "expected WIDTHxHEIGHT"),
        (Job(prompt="", size="100000x100000", seconds=0), "no bucket"),
        (Job(prompt="", seconds=-1), "seconds=-1 is no length"),
        (Job(prompt="", seconds=float("nan")), "seconds=nan is no length"),
        (Job(prompt="", seconds=float("inf")), "seconds=inf is no length"),
        (Job(prompt="", seconds=10**400), "seconds=1000.* is no length"),
        (Job(prompt="", seconds=0.01), "makes no frame at 8 fps"),
    ],
)
def test_contradictions_are_said(recipe: Recipe, job: Job, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        request_of(job, recipe)


def test_nothing_is_added_to_what_is_given(recipe: Recipe, clip: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((16, 16, 3), np.uint8))
    given: list[dict[str, Any]] = [
        {"image": str(tmp_path / "a.png")},
        {"video": str(clip), "extend": "forward"},
        {"video": str(clip), "extend": "backward"},
    ]
    for keys in given:
        with pytest.raises(RequestError, match="seconds=0 adds nothing"):
            request_of(Job(prompt="", seconds=0, **keys), recipe)
    with pytest.raises(RequestError, match="makes no frame"):
        request_of(Job(prompt="", seconds=1 / 8, **given[0]), recipe)  # the image itself
    assert request_of(Job(prompt="", seconds=1 / 8, **given[1]), recipe).frames == 1


def test_extension_goes_on_from_the_very_end(recipe: Recipe, tmp_path: Path) -> None:
    levels = np.arange(0, 240, 10, dtype=np.uint8)  # at 24 frames a second, for a model of 8
    frames = np.broadcast_to(levels[:, None, None, None], (24, 16, 16, 3))
    write(tmp_path / "a.mp4", frames, fps=24, crf=1)
    job = {"prompt": "", "video": str(tmp_path / "a.mp4"), "size": "16x16"}
    start, end = (request_of(Job(extend=way, **job), recipe) for way in ("forward", "backward"))
    assert start.start is not None
    assert end.end is not None
    assert np.allclose(start.start.mean((1, 2, 3)), levels[2::3], atol=2)
    assert np.allclose(end.end.mean((1, 2, 3)), levels[::3], atol=2)


def test_the_default_size_can_show_what_is_asked(recipe: Recipe) -> None:
    stills = replace(recipe, buckets=(*recipe.buckets, VideoShape(frames=1, height=64, width=64)))
    assert request_of(Job(prompt=""), stills).height == 24
    assert request_of(Job(prompt="", seconds=0), stills).height == 64


def test_mistakes_come_before_models(runs: tuple[Path, Path], tmp_path: Path) -> None:
    vae, dit = runs
    with pytest.raises(RequestError, match="either prompt= or prompts=FILE"):
        run(dit, tmp_path / "a.mp4")
    with pytest.raises(RequestError, match="100000 characters"):
        run(dit, tmp_path / "a.mp4", prompt="x" * 100_000, size="16x16", vae="nowhere")
    with pytest.raises(CheckpointError, match="no run of a DiT"):
        run(vae, tmp_path / "a.mp4", prompt="x")
    with pytest.raises(RequestError, match=r"out=.*a\.gif has none of the suffixes"):
        run(dit, tmp_path / "a.gif", prompt="x", vae="nowhere")
    with pytest.raises(RequestError, match="one picture, not 8 frames"):
        run(dit, tmp_path / "a.png", prompt="x", vae="nowhere")
    with pytest.raises(RequestError, match="cannot be written"):
        run(dit, dit / "config.yaml/a.mp4", prompt="x", vae="nowhere")
    assert sorted(tmp_path.iterdir()) == sorted(runs)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"size": "7x7"}, "size=7x7 is in no bucket"),
        ({"seconds": -1}, "seconds=-1 is no length"),
        ({"image": "nothing.png"}, "cannot read the image nothing.png"),
        ({"video": "nothing.mp4", "extend": "forward"}, "no such video file: nothing.mp4"),
        ({"name": "a.png"}, "name=.*a.png holds one picture"),
        ({"name": "../a.mp4"}, r"name=\.\./a\.mp4 leaves the folder"),
    ],
)
def test_a_mistake_on_any_line_comes_before_the_first_video(
    runs: tuple[Path, Path], tmp_path: Path, line: dict[str, Any], said: str
) -> None:
    lines = [{"prompt": "a"}, {"prompt": "b"} | line]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(RequestError, match=rf"p\.jsonl line 2: {said}"):
        run(runs[1], tmp_path / "out", prompts=str(tmp_path / "p.jsonl"))
    assert not (tmp_path / "out").exists()


def test_each_video_is_written_when_it_is_made(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(requests: Iterable[Request], **settings: Any) -> Iterator[np.ndarray]:
        for _ in requests:
            yield np.zeros((8, 16, 24, 3), np.uint8)
            raise KeyboardInterrupt

    (tmp_path / "p.txt").write_text("a\nb\n", encoding="utf-8")
    monkeypatch.setattr(generation, "generate", die)
    with pytest.raises(KeyboardInterrupt):
        run(runs[1], tmp_path / "out", prompts=str(tmp_path / "p.txt"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00000.mp4"]
    monkeypatch.undo()
    run(runs[1], tmp_path / "out", prompts=str(tmp_path / "p.txt"), seconds=0.25)
    assert len(read(tmp_path / "out/00000.mp4").frames) == 2  # made anew, over the one that stood


def test_where_videos_go_by_default(runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text("a\n", encoding="utf-8")
    for settings in ({"prompt": "a"}, {"prompt": "a", "seconds": 0}, {"prompts": "p.txt"}):
        run(runs[1], None, **({"seconds": 0.25} | settings))
    made = [path for path in Path("outputs").rglob("*") if path.is_file()]
    assert sorted(map(str, made)) == ["outputs/sample.mp4", "outputs/sample.png", "outputs/samples/00000.mp4"]
