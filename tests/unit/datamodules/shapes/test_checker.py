"""The checker sees what was drawn and nothing that was not; 60 scenes of several sizes, by attribute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.shapes.checker import ATTRIBUTES, judge, score, speed_right
from datamodules.shapes.draw import draw, fits
from datamodules.shapes.scene import Scene, Thing, draw_scene
from dit_video.seeds import rng

SIZES = ((32, 32), (32, 48), (48, 32), (40, 60))
FPS, FRAMES = 8.0, 9

Drawn = list[tuple[Scene, NDArray[np.uint8]]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    random, found = rng(0, "test"), []
    while len(found) < 60:
        number = len(found)
        scene = draw_scene(random, things=2 if number % 8 == 0 else 1, unseen=number % 5 == 1)
        height, width = SIZES[random.integers(len(SIZES))]
        if fits(scene, height=height, width=width, frames=FRAMES, fps=FPS):
            found.append((scene, draw(scene, random, height=height, width=width, frames=FRAMES, fps=FPS)))
    return found


def test_every_attribute_of_drawn_scenes_is_right(drawn: Drawn) -> None:
    rights = [score(judge(video, fps=FPS), scene) for scene, video in drawn]
    for attribute in (*ATTRIBUTES, "all"):
        assert np.mean([right[attribute] for right in rights]) >= 0.99, attribute
    assert np.mean([speed_right(judge(video, fps=FPS), scene) for scene, video in drawn]) >= 0.95


def test_captions_of_other_scenes_are_wrong(drawn: Drawn) -> None:
    verdicts = [judge(video, fps=FPS) for _, video in drawn]
    for shift in (1, 7, 23):
        others = [drawn[(number + shift) % len(drawn)][0] for number in range(len(drawn))]
        rights = [score(verdict, scene)["all"] for verdict, scene in zip(verdicts, others, strict=True)]
        assert np.mean(rights) <= 0.05


@pytest.mark.parametrize("kind", ["noise", "blank", "grey", "blur"])
def test_nothing_is_seen_where_nothing_is(drawn: Drawn, kind: str) -> None:
    random = np.random.default_rng(0)
    for scene, video in drawn[:15]:
        empty = {
            "noise": random.integers(0, 256, video.shape, dtype=np.uint8),
            "blank": np.zeros_like(video) + np.array([242, 242, 242], np.uint8),
            "grey": np.full_like(video, 128),
            "blur": np.broadcast_to(video.mean(axis=(1, 2), keepdims=True).astype(np.uint8), video.shape),
        }[kind]
        assert not score(judge(empty, fps=FPS), scene)["all"]


def test_one_wrong_word_is_caught_by_its_attribute(drawn: Drawn) -> None:
    scene = Scene((Thing("small", "red", "circle"),), "white", "left", "slowly")
    verdict = judge(draw(scene, rng(0, "one"), height=32, width=48, frames=FRAMES, fps=FPS), fps=FPS)
    assert all(score(verdict, scene).values())
    thing = scene.things[0]
    wrong = {
        "colour": replace(scene, things=(replace(thing, colour="magenta"),)),
        "shape": replace(scene, things=(replace(thing, shape="square"),)),
        "size": replace(scene, things=(replace(thing, size="large"),)),
        "motion": replace(scene, motion="still", speed=None),
        "ground": replace(scene, ground="grey"),
    }
    for attribute, other in wrong.items():
        missed = [name for name, right in score(verdict, other).items() if not right]
        assert missed == [attribute, "all"]
    missed = [n for n, right in score(verdict, replace(scene, things=(thing, thing))).items() if not right]
    assert missed[0] == "things"
    assert not speed_right(verdict, replace(scene, speed="quickly"))


def test_colours_of_two_things_must_be_at_their_shapes() -> None:
    scene = Scene((Thing("small", "red", "circle"), Thing("small", "blue", "square")), "white", "still")
    swapped = Scene((Thing("small", "blue", "circle"), Thing("small", "red", "square")), "white", "still")
    verdict = judge(draw(scene, rng(0, "two"), height=48, width=72, frames=FRAMES, fps=FPS), fps=FPS)
    assert all(score(verdict, scene).values())
    assert not score(verdict, swapped)["all"]


def test_a_thing_that_is_cut_off_is_not_in_frame() -> None:
    scene = Scene((Thing("large", "red", "circle"),), "white", "still")
    video = draw(scene, rng(0, "cut"), height=32, width=32, frames=FRAMES, fps=FPS)
    cut = video[:, :, 10:]
    assert not score(judge(cut, fps=FPS), scene)["in_frame"]


def test_a_thing_that_vanishes_is_caught() -> None:
    scene = Scene((Thing("large", "red", "circle"),), "white", "still")
    video = draw(scene, rng(0, "gone"), height=32, width=32, frames=FRAMES, fps=FPS)
    video[5:] = video[0, 0, 0]
    assert not score(judge(video, fps=FPS), scene)["all"]


def test_an_image_has_no_motion_to_be_wrong() -> None:
    scene = Scene((Thing("large", "red", "triangle"),), "brown", None)
    verdict = judge(draw(scene, rng(0, "image"), height=32, width=32))
    assert all(score(verdict, scene).values())
