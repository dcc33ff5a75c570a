"""What a clip of the corpus shows: attribute values, scenes, and which combinations are held out from training.

- A scene is one or two things on a ground; all things of a scene move alike, stand still, or are a still image.
- Held out are triples (colour, shape, ground) on a diagonal of the table: every pair of values is seen in training,
  one triple in seven never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

COLOURS = {
    "red": (225, 40, 40),
    "yellow": (240, 215, 40),
    "green": (30, 170, 60),
    "cyan": (60, 215, 230),
    "blue": (45, 80, 230),
    "magenta": (225, 60, 205),
}
GROUNDS = {"black": (18, 18, 18), "grey": (125, 125, 125), "white": (242, 242, 242), "brown": (105, 65, 25)}
SHAPES = ("circle", "square", "triangle")
SIZES = {"small": (0.205, 0.215), "large": (0.250, 0.265)}  # radius of the disc of equal area, in short sides
MOTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}  # (row, column)
SPEEDS = {"slowly": (0.14, 0.16), "quickly": (0.23, 0.26)}  # short sides a second


@dataclass(frozen=True, order=True)
class Thing:
    """One object: names of its size, colour and shape."""

    size: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Scene:
    """Things on a ground. `motion` is a key of MOTIONS, "still", or None for an image; `speed` only when moving."""

    things: tuple[Thing, ...]
    ground: str
    motion: str | None
    speed: str | None = None


def held_out(thing: Thing, ground: str) -> bool:
    """Whether the triple (colour, shape, ground) is kept from training."""
    place = list(COLOURS).index(thing.colour) + 2 * SHAPES.index(thing.shape) + 3 * list(GROUNDS).index(ground)
    return place % 7 == 0


def draw_scene(rng: Generator, *, image: bool = False, things: int = 1, unseen: bool = False) -> Scene:
    """A random scene. With `unseen` its (first) triple is a held-out one, else none of its triples is.

    Args:
        rng: source of chance.
        image: a still picture, so without motion.
        things: one or two; two are both small and differ in colour or shape.
        unseen: draw a held-out combination.
    """
    while True:
        ground = str(rng.choice(list(GROUNDS)))
        sizes = list(SIZES) if things == 1 else ["small"]
        drawn = tuple(
            Thing(str(rng.choice(sizes)), str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES)))
            for _ in range(things)
        )
        kept = [held_out(thing, ground) for thing in drawn]
        if len({(thing.colour, thing.shape) for thing in drawn}) == things and (kept[0] if unseen else not any(kept)):
            break
    if image:
        return Scene(drawn, ground, None)
    motion = str(rng.choice([*MOTIONS, "still"]))
    speed = None if motion == "still" else str(rng.choice(list(SPEEDS)))
    return Scene(drawn, ground, motion, speed)
