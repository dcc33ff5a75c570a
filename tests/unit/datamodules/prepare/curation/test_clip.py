from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from datamodules.prepare.curation.clip import Rules, samples
from dit_video.errors import DataError
from dit_video.media.image import read_image
from dit_video.media.probe import probe
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


def test_what_is_in_no_clip_is_told(tmp_path: Path) -> None:
    shots = [flat(30, (200, 40, 40)), flat(40, (40, 40, 200)), flat(5, (250, 240, 20)), flat(14, (20, 90, 20))]
    write(tmp_path / "a.mp4", np.concatenate(shots), fps=12)
    found = samples(tmp_path / "a.mp4", replace(RULES, max_seconds=1.5), FIELDS)
    told = [(piece.reason, round(piece.start_seconds * 12), round(piece.seconds * 12)) for piece in found.dropped]
    assert told == [
        ("shorter than min_seconds: the end of a shot", 66, 4),
        ("shorter than min_seconds: a shot", 70, 5),
    ]
    kept = sum(sample.row["frames"] for sample in found.samples)
    assert kept + sum(frames for _, _, frames in told) == 89
    image = read_image(found.dropped[1].thumbnail or b"")
    assert np.abs(image.mean((0, 1)) - (250, 240, 20)).max() < 8


def test_a_dissolve_is_in_no_clip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = (cv2.resize(rng.integers(0, 255, (9, 16, 3)).astype(np.uint8), (128, 72)) for _ in range(2))
    share = np.clip((np.arange(60) - 23) / 13, 0, 1)[:, None, None, None]
    write(tmp_path / "a.mp4", (first * (1 - share) + second * share).astype(np.uint8), fps=12)
    found = samples(tmp_path / "a.mp4", RULES, FIELDS)
    (piece,) = found.dropped
    assert piece.reason == "a dissolve"
    assert (piece.start_seconds * 12, piece.seconds * 12) == pytest.approx((24, 12), abs=1)
    assert [round(sample.row["start_seconds"] * 12) for sample in found.samples] == [0, 36]


@pytest.mark.parametrize("form", ["interlaced", "variable", "hdr"])
def test_how_the_source_was_is_known_and_the_clip_is_plain(tmp_path: Path, form: str) -> None:
    options = {"x264-params": "tff=1"} if form == "interlaced" else {}
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=12, options=options)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuv420p10le" if form == "hdr" else "yuv420p"
        if form == "hdr":
            context = stream.codec_context
            context.color_primaries, context.color_trc, context.colorspace = 9, 16, 9
        for at in range(24):
            frame = av.VideoFrame.from_ndarray(flat(1, (90, 90, 90))[0].repeat(2, 0).repeat(2, 1), format="rgb24")
            frame = frame.reformat(64, 48, stream.pix_fmt)
            frame.pts, frame.time_base = (at + (at > 12) * 9 if form == "variable" else at), Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for sample in samples(tmp_path / "a.mp4", RULES, FIELDS).samples:
        facts = {name: sample.scores[name] for name in ("interlaced", "variable", "hdr", "full_range", "rotation")}
        assert facts == {**dict.fromkeys(facts, 0.0), form: 1.0}
        made = probe(sample.media)
        assert (made.codec, made.pixel_format, made.hdr, made.wide) == ("h264", "yuv420p", False, False)
        assert np.allclose(np.diff(read(sample.media).times), 1 / made.fps, atol=1e-3)


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
