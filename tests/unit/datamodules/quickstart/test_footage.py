"""What is asked of a model of own footage: prompts at native sizes, and held-out clips to go on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.clips import ClipData
from datamodules.quickstart.footage import half, started, told
from dit_video.media.image import read_image
from dit_video.media.read import read

SIZES = ["17x32x48", "17x48x32", "9x32x32", "1x32x48"]


@pytest.fixture
def clips(finished: Path) -> ClipData:
    return ClipData(dataset=str(finished), sizes=SIZES, workers=0, validation=0.3)


def test_prompts_are_told_once_at_the_sizes_of_their_clips(clips: ClipData) -> None:
    texts = {key: f"caption {number % 3}" for number, key in enumerate(clips.index.key)}
    lines = told(clips, texts)
    assert sorted(line["prompt"] for line in lines) == ["caption 0", "caption 1", "caption 2"]
    assert len({line["name"] for line in lines}) == 3
    for line in lines:
        rows = [row for row in clips.chosen.rows.tolist() if texts[clips.index.key[row]] == line["prompt"]]
        shape = clips.loader.shape(rows[0])
        assert line["size"] == f"{shape.width}x{shape.height}"
        assert round(line["seconds"] * clips.fps) == (shape.frames if shape.frames > 1 else 0)


def test_what_is_given_is_of_clips_that_were_held_out(clips: ClipData, tmp_path: Path) -> None:
    lines = started(tmp_path, clips, dict.fromkeys(clips.index.key, "words"))
    held = clips.validation(100)
    whole = {batch.video.shape[2:] for batch in held if batch.video.shape[2] > 8}
    assert {line["row"] for line in lines} == {"image_to_video", "forward", "backward"}
    for line in lines:
        made = round(line["seconds"] * clips.fps)
        if line["row"] == "image_to_video":
            height, width, _ = read_image(line["image"]).shape
            frames = made
        else:
            kept, height, width, _ = read(line["video"]).frames.shape
            frames = kept + made
            assert kept == half(frames)
        assert line["size"] == f"{width}x{height}"
        assert (frames, height, width) in whole


def test_about_half_is_given_in_whole_latent_frames() -> None:
    assert [half(frames) for frames in (1, 5, 9, 13, 17, 33)] == [0, 0, 5, 5, 9, 17]
