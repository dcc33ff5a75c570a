"""Held-out triples are never drawn for training, though every pair of their values is seen."""

from __future__ import annotations

from itertools import product

from datamodules.shapes.scene import COLOURS, GROUNDS, MOTIONS, SHAPES, SPEEDS, Thing, draw_scene, held_out
from dit_video.seeds import rng


def triples() -> list[tuple[str, str, str]]:
    return list(product(COLOURS, SHAPES, GROUNDS))


def kept(triple: tuple[str, str, str]) -> bool:
    return held_out(Thing("small", triple[0], triple[1]), triple[2])


def test_every_pair_is_seen_in_training() -> None:
    seen = [triple for triple in triples() if not kept(triple)]
    for a, b, one, two in ((0, 1, COLOURS, SHAPES), (0, 2, COLOURS, GROUNDS), (1, 2, SHAPES, GROUNDS)):
        assert {(t[a], t[b]) for t in seen} == set(product(one, two))
    assert 0.1 < 1 - len(seen) / len(triples()) < 0.2


def test_training_never_draws_what_is_held_out_and_the_test_nothing_else() -> None:
    random = rng(0, "test")
    for number in range(300):
        scene = draw_scene(random, things=1 + number % 2, image=number % 3 == 0)
        assert not any(held_out(thing, scene.ground) for thing in scene.things)
        unseen = draw_scene(random, unseen=True)
        assert held_out(unseen.things[0], unseen.ground)


def test_scenes_are_whole() -> None:
    random = rng(0, "test")
    motions = set()
    for number in range(300):
        scene = draw_scene(random, things=1 + number % 2)
        motions.add(scene.motion)
        assert (scene.speed in SPEEDS) == (scene.motion in MOTIONS)
        if len(scene.things) == 2:
            assert {thing.size for thing in scene.things} == {"small"}
            assert len({(thing.colour, thing.shape) for thing in scene.things}) == 2
    assert motions == {*MOTIONS, "still"}
    assert draw_scene(random, image=True).motion is None
    assert draw_scene(rng(1, "test")) == draw_scene(rng(1, "test"))
