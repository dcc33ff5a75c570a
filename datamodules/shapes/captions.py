"""Captions of a scene: the full description, the short source caption that leaves things out, and reading them back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from datamodules.shapes.scene import COLOURS, GROUNDS, SHAPES, SIZES, SPEEDS, Scene, Thing

if TYPE_CHECKING:
    from numpy.random import Generator

WAYS = {"left": "to the left", "right": "to the right", "up": "up", "down": "down"}
THING = rf"a ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
GROUND = rf"on a ({'|'.join(GROUNDS)}) ground"
ACTION = rf"(?:(?:moves?) ({'|'.join(SPEEDS)}) ({'|'.join(WAYS.values())})|(stands? still))"
VIDEO = re.compile(rf"{THING}(?: and {THING})? {ACTION} {GROUND}")
IMAGE = re.compile(rf"a picture of {THING}(?: and {THING})? {GROUND}")


def describe(scene: Scene) -> str:
    """The full description: every attribute, always in the same words."""
    names = " and ".join(f"a {thing.size} {thing.colour} {thing.shape}" for thing in scene.things)
    ground = f"on a {scene.ground} ground"
    if scene.motion is None:
        return f"a picture of {names} {ground}"
    many = len(scene.things) > 1
    if scene.motion == "still":
        return f"{names} {'stand' if many else 'stands'} still {ground}"
    return f"{names} {'move' if many else 'moves'} {scene.speed} {WAYS[scene.motion]} {ground}"


def parse(caption: str) -> Scene | None:
    """The scene that a full description tells of, or None if the text is not one."""
    text = " ".join(caption.lower().split())
    if match := IMAGE.fullmatch(text):
        words = match.groups()
        return Scene(_things(words[:6]), words[6], None)
    if match := VIDEO.fullmatch(text):
        words = match.groups()
        way = next((name for name, phrase in WAYS.items() if phrase == words[7]), "still")
        return Scene(_things(words[:6]), words[9], way, words[6])
    return None


def _things(words: tuple[str, ...]) -> tuple[Thing, ...]:
    return tuple(Thing(*words[at : at + 3]) for at in (0, 3) if words[at])


def alt_text(scene: Scene, rng: Generator) -> str:
    """A short caption as pages on the web have them: it names the thing and leaves most of the rest out."""
    thing = scene.things[0]
    choices = [
        f"{thing.shape}",
        f"{thing.colour} {thing.shape}",
        f"{thing.size} {thing.shape} clip art",
        f"a {thing.shape} on {scene.ground}",
        f"{thing.colour} {'clip' if scene.motion else 'image'}",
    ]
    if scene.motion in WAYS:
        choices += [f"{thing.shape} moving {scene.motion}", f"{thing.colour} thing goes {scene.motion}"]
    return str(rng.choice(choices))
