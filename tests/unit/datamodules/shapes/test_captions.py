"""Full descriptions can be read back; source captions cannot, and leave things out."""

from __future__ import annotations

import pytest

from datamodules.shapes.captions import alt_text, describe, parse
from datamodules.shapes.scene import Scene, Thing, draw_scene
from dit_video.seeds import rng


def scenes() -> list[Scene]:
    random = rng(0, "test")
    return [
        draw_scene(random, image=number % 3 == 0, things=1 + number % 2, unseen=number % 5 == 0)
        for number in range(300)
    ]


def test_descriptions_round_trip() -> None:
    for scene in scenes():
        assert parse(describe(scene)) == scene
        assert parse(f"  {describe(scene).upper()}\n") == scene


def test_descriptions_are_sentences() -> None:
    red, blue = Thing("large", "red", "circle"), Thing("small", "blue", "square")
    assert describe(Scene((red,), "white", "left", "slowly")) == (
        "a large red circle moves slowly to the left on a white ground"
    )
    assert describe(Scene((blue, red), "black", "still")) == (
        "a small blue square and a large red circle stand still on a black ground"
    )
    assert describe(Scene((red,), "grey", None)) == "a picture of a large red circle on a grey ground"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red circle",
        "a large red circle moves to the left on a white ground",
        "a large red hexagon stands still on a white ground",
        "a large red circle stands still on a white ground and more",
        "a large red circle moves slowly still on a white ground",
    ],
)
def test_what_is_no_full_description_is_none(text: str) -> None:
    assert parse(text) is None


def test_source_captions_are_short_and_true() -> None:
    random = rng(1, "test")
    for scene in scenes():
        text = alt_text(scene, random)
        assert parse(text) is None
        thing = scene.things[0]
        assert thing.shape in text or thing.colour in text
        for word in ("left", "right", "up", "down"):
            assert word not in text.split() or word == scene.motion
