"""Requests of the quickstart: keyed, half of them held out, given files written, all served by the sampler's keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.quickstart.requests import FPS, FRAMES, GIVEN, SIZES, conditioned, load, save, text_to_video
from datamodules.shapes.captions import parse
from datamodules.shapes.checker import judge, score
from datamodules.shapes.draw import fits
from datamodules.shapes.scene import held_out
from dit_video.media.image import read_image
from dit_video.media.read import read
from dit_video.pipeline.jobs import Job, read_jobs
from dit_video.pipeline.request import parse_size


def test_prompts_are_keyed_fit_and_half_of_them_are_held_out() -> None:
    lines = text_to_video(each=6, seed=0)
    assert lines == text_to_video(each=6, seed=0) != text_to_video(each=6, seed=1)
    assert len({line["name"] for line in lines}) == len(lines) == 6 * len(SIZES)
    for line in lines:
        scene = parse(line["prompt"])
        assert scene is not None
        assert held_out(scene.things[0], scene.ground) == line["held_out"]
        height, width = parse_size(line["size"])
        assert (height, width) == SIZES[line["row"]]
        assert fits(scene, height=height, width=width, frames=FRAMES, fps=FPS)
    assert sum(line["held_out"] for line in lines) == len(lines) // 2


def test_given_files_show_the_prompt(tmp_path: Path) -> None:
    lines = conditioned(tmp_path / "given", each=2, seed=0)
    assert [line["row"] for line in lines] == ["image_to_video"] * 2 + ["forward"] * 2 + ["backward"] * 2
    shapes = []
    for line in lines:
        scene = parse(line["truth"])
        assert scene is not None
        if line["row"] == "image_to_video":
            frames, fps = read_image(line["image"])[None], FPS
            assert scene.motion is not None
        else:
            video = read(line["video"])
            frames, fps = video.frames, video.fps
            assert (len(frames), line["extend"]) == (GIVEN, line["row"])
            assert scene.motion != "still"
            assert round(line["seconds"] * fps) + GIVEN == FRAMES
        right = score(judge(frames, fps=fps), scene)
        shapes.append(right["shape"])
        assert right["colour"]
        assert right["motion"] or len(frames) == 1
    assert sum(shapes) >= len(shapes) - 1  # H.264 at half the colour resolution may round the corners of a small one


def test_the_sampler_reads_what_is_saved(tmp_path: Path) -> None:
    lines = text_to_video(each=2, seed=0) + conditioned(tmp_path / "given", each=1, seed=0)
    save(tmp_path / "requests.jsonl", lines)
    assert load(tmp_path / "requests.jsonl") == lines
    jobs = read_jobs(tmp_path / "requests.jsonl", Job(prompt=""))
    assert [(job.prompt, job.name, job.extend) for job in jobs] == [
        (line["prompt"], line["name"], line.get("extend")) for line in lines
    ]
    assert np.allclose([job.seconds for job in jobs], [line["seconds"] for line in lines])
