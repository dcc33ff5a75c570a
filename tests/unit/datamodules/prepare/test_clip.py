from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from datamodules.prepare.clip import Rules, samples
from dit_video.errors import DataError
from dit_video.media.read import read
from dit_video.media.write import write

RULES = Rules(max_seconds=2.0, min_seconds=0.5, crf=14)
FIELDS = {"source": "a.mp4", "caption": "c"}


def flat(frames: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Flat colour with a little noise that is fixed."""
    noise = np.random.default_rng(0).integers(-3, 4, (32, 48, 1))
    return np.repeat(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)[None], frames, axis=0)


def test_a_clip_never_crosses_a_cut(tmp_path: Path) -> None:
    shots = [flat(30, (200, 40, 40)), flat(40, (40, 40, 200)), flat(5, (250, 250, 250)), flat(14, (20, 20, 20))]
    write(tmp_path / "a.mp4", np.concatenate(shots), fps=12)
    found = samples(tmp_path / "a.mp4", RULES, FIELDS).samples
    assert [(s.row["start_seconds"], s.row["frames"]) for s in found] == [
        (0.0, 24), (2.0, 6), (2.5, 24), (4.5, 16), (6.25, 14)
    ]  # fmt: skip
    for sample in found:
        video = read(sample.media)
        assert len(video.frames) == sample.row["frames"]
        assert video.fps == sample.row["fps"] == 12
        means = video.frames.mean((1, 2))
        assert np.abs(means - means[0]).max() < 8


def test_a_plain_clip_keeps_its_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", flat(20, (200, 40, 40)), fps=12)
    (only,) = samples(tmp_path / "a.mp4", RULES, FIELDS).samples
    assert only.media == (tmp_path / "a.mp4").read_bytes()
    assert only.row["seconds"] == pytest.approx(20 / 12)


def test_longest_scales_down_what_is_larger_and_nothing_else(tmp_path: Path) -> None:
    from dit_video.media.image import encode_image, read_image

    write(tmp_path / "a.mp4", flat(20, (200, 40, 40)), fps=12)
    (tmp_path / "b.jpg").write_bytes(encode_image(flat(1, (200, 40, 40))[0], form="jpg"))
    for name, small in [("a.mp4", (20, 16, 24)), ("b.jpg", (1, 16, 24))]:
        (native,) = samples(tmp_path / name, replace(RULES, longest=48), FIELDS).samples
        assert native.media == (tmp_path / name).read_bytes()
        (scaled,) = samples(tmp_path / name, replace(RULES, longest=24), FIELDS).samples
        assert (scaled.row["frames"], scaled.row["height"], scaled.row["width"]) == small
        images = read(scaled.media).frames if scaled.suffix == "mp4" else read_image(scaled.media)[None]
        assert images.shape == (*small, 3)
        assert np.abs(images.mean((0, 1, 2)) - (200, 40, 40)).max() < 4


def test_other_codecs_and_odd_sizes_are_encoded_again(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 51, 33, "yuv420p"
        for image in flat(25, (200, 40, 40))[:, :, :1].repeat(51, 2)[:, :1].repeat(33, 1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())
    (only,) = samples(tmp_path / "a.avi", RULES, FIELDS).samples
    assert (only.row["frames"], only.row["height"], only.row["width"], only.suffix) == (25, 34, 52, "mp4")


def test_too_short_or_cut_off_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", flat(4, (200, 40, 40)), fps=12)
    with pytest.raises(DataError, match="no shot"):
        samples(tmp_path / "a.mp4", RULES, FIELDS)
    from dit_video.media.image import encode_image

    data = encode_image(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), form="jpg")
    (tmp_path / "b.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"b\.jpg.* (cut off|damaged)"):
        samples(tmp_path / "b.jpg", RULES, FIELDS)
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    with pytest.raises(DataError, match=r"c\.jpg is not a readable image"):
        samples(tmp_path / "c.jpg", RULES, FIELDS)
