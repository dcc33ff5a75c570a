"""Pictures are of the sample they stand for; a damaged one is counted and the page stands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.files.shards import Shards
from datamodules.report import tables
from datamodules.report.thumbs import FRAMES, TALL, WIDEST, Picture, Thumbs, fitted, size_of, webp
from dit_video.media.image import encode_image
from tests.unit.datamodules.report.conftest import Reader, dataset_of


def test_a_clip_gives_frames_in_a_row_and_an_image_one(finished: Path) -> None:
    found = tables.load(str(finished))
    thumbs = Thumbs(dataset=found)
    for row in (int(np.flatnonzero(~found.image)[0]), int(np.flatnonzero(found.image)[0])):
        html = thumbs.tile(row, "note")
        assert ("moves" in html) == (not found.image[row])
        frames = thumbs.frames(Shards(), next(picture for picture in thumbs.asked if picture.row == row))
        assert len(frames) == (1 if found.image[row] else FRAMES)
        strip = cv2.imdecode(np.frombuffer(webp(frames), np.uint8), cv2.IMREAD_COLOR)
        assert strip.shape[1] == sum(frame.shape[1] for frame in frames)
        assert found.texts["source"][row] in Reader(html).text


def test_a_picture_is_made_once_however_often_it_is_shown(finished: Path) -> None:
    thumbs = Thumbs(dataset=tables.load(str(finished)))
    thumbs.tile(0)
    thumbs.tile(0, "again")
    thumbs.tile(0, crop=True)
    assert len(list(thumbs.made())) == 2
    assert not thumbs.failed


def test_no_two_threads_share_open_files(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thumbs = Thumbs(dataset=tables.load(str(finished)))
    thumbs.tile(0)
    thumbs.tile(1)
    used: list[Shards] = []

    def frames(_: Thumbs, shards: Shards, __: Picture) -> list[np.ndarray]:
        used.append(shards)
        return [np.zeros((2, 2, 3), np.uint8)]

    monkeypatch.setattr(Thumbs, "frames", frames)
    assert len(list(thumbs.made())) == len({id(shards) for shards in used}) == 2


def test_damage_is_counted_and_shown(dataset: Path) -> None:
    path = dataset / "clips" / "000000.tar"
    data = bytearray(path.read_bytes())
    found = tables.load(str(dataset))
    data[int(found.numbers["media_offset"][0]) + 9] ^= 1
    path.write_bytes(bytes(data))
    thumbs = Thumbs(dataset=found)
    thumbs.tile(0)
    thumbs.tile(1)
    rules = list(thumbs.made())
    assert "cannot be read" in rules[0]
    assert "data:image/webp" in rules[1]
    assert list(thumbs.failed) == [0]


def test_a_given_picture_is_shown_and_a_broken_one_left_out() -> None:
    thumbs = Thumbs(dataset=dataset_of(frames=[9]))
    data = encode_image(np.full((54, 96, 3), 90, np.uint8), form="jpg")
    assert 'class="tile p0"' in thumbs.picture(data, "", about=["a"])
    assert thumbs.picture(b"no image", "", about=["a"]) == ""
    assert len(list(thumbs.made())) == 1


def test_without_media_there_are_no_tiles() -> None:
    assert Thumbs(dataset=dataset_of(frames=[9]), there=False).tile(0) == ""


@pytest.mark.parametrize("size", [(1, 1), (16, 5000), (5000, 16), (720, 1280), (1920, 1080)])
def test_pictures_are_small_whatever_the_sample(size: tuple[int, int]) -> None:
    for crop in (False, True):
        height, width = size_of(*size, crop=crop)
        assert 1 <= height <= TALL
        assert 1 <= width <= WIDEST
    assert size_of(720, 1280, aspect=1.0) == (TALL, TALL)


def test_a_crop_is_the_middle_in_its_own_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    picture = Picture(0, 100, 200, crop=True)
    np.testing.assert_array_equal(fitted(image, picture), image[100:200, 100:300])


def test_a_tiny_crop_is_enlarged_by_whole_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    size = size_of(30, 40, crop=True)
    assert size == (90, 120)
    np.testing.assert_array_equal(fitted(image, Picture(0, *size, crop=True))[::3, ::3], image)
