"""From a scene to pixels: antialiased by signed distance, at any size, frame rate and duration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from datamodules.shapes.scene import COLOURS, GROUNDS, MOTIONS, SIZES, SPEEDS, Scene

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

HALF_SQUARE = math.sqrt(math.pi) / 2  # half the side, for the area of the unit disc
JITTER = 0.04  # how far from the middle a path may lie, in short sides
MARGIN = 0.07  # between a thing and the edge, in short sides
INRADIUS = math.sqrt(math.pi / (3 * math.sqrt(3)))  # of the equilateral triangle with the area of the unit disc
EXTENT = {  # how far each shape reaches from its centroid: up, down, left and right, for the area of the unit disc
    "circle": (1.0, 1.0, 1.0),
    "square": (HALF_SQUARE, HALF_SQUARE, HALF_SQUARE),
    "triangle": (2 * INRADIUS, INRADIUS, math.sqrt(3) * INRADIUS),
}


def coverage(shape: str, *, row: float, column: float, radius: float, height: int, width: int) -> Array:
    """How much of each pixel a shape covers, in [0, 1], (height, width).

    Args:
        shape: a name of SHAPES.
        row: of the centroid, in pixels.
        column: of the centroid, in pixels.
        radius: of the disc of the same area, in pixels.
        height: of the picture.
        width: of the picture.
    """
    y = np.arange(height)[:, None] + 0.5 - row
    x = np.arange(width)[None, :] + 0.5 - column
    if shape == "circle":
        distance = np.hypot(y, x) - radius
    elif shape == "square":
        distance = np.maximum(np.abs(y), np.abs(x)) - HALF_SQUARE * radius
    else:
        slope = math.sqrt(3) / 2 * np.abs(x) - y / 2
        distance = np.maximum(y, slope) - INRADIUS * radius
    return np.clip(0.5 - distance, 0.0, 1.0)


def draw(
    scene: Scene, rng: Generator, *, height: int, width: int, frames: int = 1, fps: float = 12.0
) -> NDArray[np.uint8]:
    """Frames (frames, height, width, 3) of a scene whose things stay in frame; radius, speed and place are drawn.

    Args:
        scene: what to show.
        rng: source of chance.
        height: in pixels.
        width: in pixels.
        frames: how many; 1 for an image.
        fps: frames a second.
    """
    short = min(height, width)
    seconds = (frames - 1) / fps
    radii = [float(rng.uniform(*SIZES[thing.size])) * short for thing in scene.things]
    step = float(rng.uniform(*SPEEDS[scene.speed])) * short if scene.speed else 0.0
    direction = np.array(MOTIONS.get(scene.motion or "", (0, 0)), dtype=float)
    travel = direction * step * seconds
    rooms = _rooms(len(scene.things), height, width, rng)
    starts = [
        _start(thing.shape, radius, room, travel, rng)
        for thing, radius, room in zip(scene.things, radii, rooms, strict=True)
    ]
    ground = np.array(GROUNDS[scene.ground], dtype=float)
    video = np.empty((frames, height, width, 3), np.uint8)
    for index in range(frames):
        picture = np.broadcast_to(ground, (height, width, 3))
        for thing, radius, start in zip(scene.things, radii, starts, strict=True):
            row, column = start + travel * (index / max(frames - 1, 1))
            alpha = coverage(thing.shape, row=row, column=column, radius=radius, height=height, width=width)
            picture = picture + alpha[..., None] * (np.array(COLOURS[thing.colour]) - picture)
        video[index] = np.round(picture)
    return video


def _rooms(things: int, height: int, width: int, rng: Generator) -> list[tuple[float, float, float, float]]:
    """The part of the frame (top, bottom, left, right) each thing keeps to, so that two never meet."""
    tall, wide = float(height), float(width)
    if things == 1:
        return [(0.0, tall, 0.0, wide)]
    if width > height or (width == height and rng.random() < 0.5):
        rooms = [(0.0, tall, 0.0, wide / 2), (0.0, tall, wide / 2, wide)]
    else:
        rooms = [(0.0, tall / 2, 0.0, wide), (tall / 2, tall, 0.0, wide)]
    return rooms if rng.random() < 0.5 else rooms[::-1]


def _start(shape: str, radius: float, room: tuple[float, float, float, float], travel: Array, rng: Generator) -> Array:
    """A place to start from: the path's middle near the room's, and all of it inside."""
    top, bottom, left, right = room
    short = min(bottom - top, right - left)
    up, down, side = (reach * radius + MARGIN * short for reach in EXTENT[shape])
    spans = ((top, bottom, up, down, travel[0]), (left, right, side, side, travel[1]))
    place = []
    for low, high, before, after, move in spans:
        first, last = low + before - min(move, 0.0), high - after - max(move, 0.0)
        middle = (low + high + before - after - move) / 2
        spread = min(JITTER * short, max(last - first, 0.0) / 2)
        place.append(min(max(middle, first), max(first, last)) + rng.uniform(-spread, spread))
    return np.array(place)


def fits(scene: Scene, *, height: int, width: int, frames: int, fps: float) -> bool:
    """Whether the fastest, largest version of a scene can stay in frame for its whole length."""
    short = min(height, width)
    travel = SPEEDS[scene.speed][1] * short * (frames - 1) / fps if scene.speed else 0.0
    rows, columns = np.abs(MOTIONS.get(scene.motion or "", (0, 0)))
    two = len(scene.things) == 2
    tall, wide = float(height), float(width)
    if two:
        tall, wide = (height, width / 2) if width >= height else (height / 2, width)
        if width == height:
            tall, wide = height / 2, width / 2
    for thing in scene.things:
        up, down, side = (reach * SIZES[thing.size][1] * short + MARGIN * short for reach in EXTENT[thing.shape])
        if rows * travel + up + down > tall or columns * travel + 2 * side > wide:
            return False
    return True
