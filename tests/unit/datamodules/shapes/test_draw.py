"""Drawn things have the area, the place and the way they are said to have, at any size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datamodules.shapes.draw import coverage, draw, fits
from datamodules.shapes.scene import COLOURS, GROUNDS, MOTIONS, SHAPES, SPEEDS, Scene, Thing
from dit_video.seeds import rng


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [5.0, 8.3, 12.0])
def test_every_shape_has_the_area_of_its_disc_and_its_centroid(shape: str, radius: float) -> None:
    alpha = coverage(shape, row=31.3, column=30.6, radius=radius, height=64, width=60)
    assert alpha.min() == 0
    assert alpha.max() == 1
    assert abs(alpha.sum() / (math.pi * radius**2) - 1) < 0.03
    rows, columns = np.mgrid[0:64, 0:60] + 0.5
    assert abs((alpha * rows).sum() / alpha.sum() - 31.3) < 0.15
    assert abs((alpha * columns).sum() / alpha.sum() - 30.6) < 0.05


@pytest.mark.parametrize("motion", [*MOTIONS, "still"])
@pytest.mark.parametrize("size", [(32, 32), (32, 48), (60, 40)])
def test_things_move_as_they_are_told_and_stay_within(motion: str, size: tuple[int, int]) -> None:
    speed = None if motion == "still" else "slowly"
    scene = Scene((Thing("small", "red", "square"),), "black", motion, speed)
    video = draw(scene, rng(0, "test"), height=size[0], width=size[1], frames=13, fps=12.0)
    assert video.shape == (13, *size, 3)
    border = np.concatenate([video[:, 0], video[:, -1], video[:, :, 0], video[:, :, -1]], axis=1)
    assert (border == GROUNDS["black"]).all()
    red = video[..., 0].astype(float) - GROUNDS["black"][0]
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    places = np.stack([(red * axis).sum((1, 2)) / red.sum((1, 2)) for axis in (rows, columns)], axis=-1) / min(size)
    travelled = places[-1] - places[0]
    way = np.array(MOTIONS.get(motion, (0, 0)))
    low, high = SPEEDS["slowly"] if speed else (0.0, 0.0)
    assert low - 0.01 <= travelled @ way <= high + 0.01
    assert np.abs(travelled - (travelled @ way) * way).max() < 0.01
    assert np.abs(np.diff(places, 2, axis=0)).max() < 0.01


def test_colours_are_those_of_the_palette_and_two_things_never_meet() -> None:
    things = (Thing("small", "green", "circle"), Thing("small", "magenta", "triangle"))
    video = draw(Scene(things, "white", None), rng(0, "test"), height=48, width=48)
    assert video.shape == (1, 48, 48, 3)
    for colour in ("green", "magenta"):
        count = (video == np.array(COLOURS[colour], np.uint8)).all(axis=-1).sum()
        assert count > 0.6 * math.pi * (0.175 * 48) ** 2


def test_draws_are_keyed() -> None:
    scene = Scene((Thing("small", "red", "square"),), "black", "left", "slowly")
    one, two, three = (draw(scene, rng(seed, "test"), height=32, width=32, frames=3) for seed in (0, 0, 1))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_long_fast_ways_do_not_fit() -> None:
    scene = Scene((Thing("large", "red", "circle"),), "black", "right", "quickly")
    assert fits(scene, height=32, width=48, frames=9, fps=8.0)
    assert not fits(scene, height=32, width=48, frames=49, fps=8.0)
    assert fits(Scene(scene.things, "black", "still"), height=32, width=32, frames=49, fps=8.0)
