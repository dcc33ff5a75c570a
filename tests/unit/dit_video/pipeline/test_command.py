"""The command: settings and files in, MP4s out, mistakes in one line before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dit_video.errors import CheckpointError, RequestError
from dit_video.media.image import read_image, write_image
from dit_video.media.read import read
from dit_video.media.write import write
from dit_video.pipeline.command import Job, read_jobs, read_recipe, request_of, sample
from dit_video.pipeline.denoise import Sampling
from dit_video.pipeline.request import Recipe

FREE: dict[str, Any] = dict.fromkeys(("prompt", "prompts", "image", "video", "extend", "size", "vae"))


def run(checkpoint: Path, out: Path, **settings: Any) -> None:
    defaults = FREE | {"seconds": 1.0, "seed": 0, "ema": False, "sampling": Sampling(steps=1)}
    sample(checkpoint=str(checkpoint), out=str(out), **(defaults | settings))


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
        {"prompt": "a", "name": "x.mp4", "size": "16x16", "row": "ignored"},
        {"prompt": "b", "video": str(clip), "extend": "backward", "seconds": 0.5},
    ]
    (tmp_path / "p.jsonl").write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    run(runs[1], tmp_path / "out", prompts=str(tmp_path / "p.jsonl"), seconds=0.25)
    assert read(tmp_path / "out/x.mp4").frames.shape == (2, 16, 16, 3)
    assert read(tmp_path / "out/00001.mp4").frames.shape == (4 + 16, 16, 24, 3)


def test_lines_are_jobs_with_seeds_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a circle\n\n  a square \n", encoding="utf-8")
    jobs = read_jobs(tmp_path / "p.txt", Job(prompt="", seed=7, size="24x16"))
    assert [(job.prompt, job.seed, job.size) for job in jobs] == [("a circle", 7, "24x16"), ("a square", 8, "24x16")]
    assert [job.name for job in jobs] == ["00000.mp4", "00001.mp4"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.txt", "\n \n", "is empty"),
        ("p.jsonl", '{"prompt": "a"}\n{"size": "1x1"}', "line 2 has no prompt"),
        ("p.jsonl", '{"prompt": "a"}\nnot json', "line 2 is no JSON object"),
        ("p.jsonl", '["a"]', "line 1 is no JSON object"),
        ("other.txt", "a", "is no file"),
    ],
)
def test_files_of_prompts_that_are_none_are_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name.replace("other", "another")).write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=said):
        read_jobs(tmp_path / name, Job(prompt=""))


def test_given_files_come_at_the_models_size_and_rate(recipe: Recipe, clip: Path, tmp_path: Path) -> None:
    forward = request_of(Job(prompt="", video=str(clip), extend="forward", seconds=1), recipe)
    assert forward.start is not None
    assert (forward.start.shape, forward.frames, forward.end) == ((16, 16, 24, 3), 8, None)  # the aspect's nearest
    backward = request_of(Job(prompt="", video=str(clip), extend="backward", size="24x24"), recipe)
    assert backward.end is not None
    assert (backward.end.shape, backward.start) == ((16, 24, 24, 3), None)
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
        (Job(prompt="", seconds=-1), "makes no frame"),
    ],
)
def test_contradictions_are_said(recipe: Recipe, job: Job, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        request_of(job, recipe)


def test_mistakes_come_before_models(runs: tuple[Path, Path], tmp_path: Path) -> None:
    vae, dit = runs
    with pytest.raises(RequestError, match="either prompt= or prompts=FILE"):
        run(dit, tmp_path / "a.mp4")
    with pytest.raises(RequestError, match="100000 characters"):
        run(dit, tmp_path / "a.mp4", prompt="x" * 100_000, size="16x16", vae="nowhere")
    with pytest.raises(CheckpointError, match="no run of a DiT"):
        run(vae, tmp_path / "a.mp4", prompt="x")
    with pytest.raises(CheckpointError, match="does not exist"):
        run(tmp_path / "nowhere", tmp_path / "a.mp4", prompt="x")


def test_a_vae_of_another_compression_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    file = runs[1] / "recipe.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    about["compression"]["channels"] = 5
    file.write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(CheckpointError, match="this DiT needs"):
        run(runs[1], tmp_path / "a.mp4", prompt="x", size="16x16")
