"""Line plots and a strip of dots as inline SVG: a few dozen lines instead of a plotting library in the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LEFT, RIGHT, TOP, BOTTOM = 38, 10, 8, 20  # margins in pixels
NARROW, WIDE, TALL = 358, 738, 190
POINTS = 360  # across a plot; more are drawn as the least and the most of each stretch
SHARE = 40  # the smooth line is a mean over this part of a run


@dataclass(frozen=True)
class Curve:
    """Values over `x`: the `smooth` line, the `raw` one behind it where given; `style` is c, c0, c1, c2 or c3."""

    x: Array
    smooth: Array
    raw: Array | None = None
    name: str = ""
    style: str = "c"


def smooth(values: Array) -> Array:
    """A centred moving mean over 1/SHARE of the values; over fewer at the ends, and at the start, where it is steep."""
    reach = max(len(values) // (2 * SHARE), 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reaches = np.minimum(places, reach)
    first, last = places - reaches, np.minimum(places + reaches + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def curve(x: Array, values: Array, *, name: str = "", style: str = "c") -> Curve | None:
    """The curve of what is finite of `values`, or None where fewer than two are."""
    kept = np.isfinite(x) & np.isfinite(values)
    return Curve(x[kept], smooth(values[kept]), values[kept], name, style) if kept.sum() > 1 else None


def lines(title: str, curves: Sequence[Curve], *, unit: str, wide: bool = False, zero: bool = False) -> str:
    """A figure of curves over samples seen; logarithmic where they span more than a factor of three.

    Args:
        title: shown above.
        curves: at least one, each of at least two points.
        unit: of the values, shown above at the right.
        wide: two columns instead of one.
        zero: linear and from zero on.
    """
    width = WIDE if wide else NARROW
    low, high = bounds(curves)
    logarithmic = not zero and low > 0 and high / low > 3
    if not logarithmic:
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        low, high = (0.0 if zero else low - room), high + room
    start, end = min(float(c.x[0]) for c in curves), max(float(c.x[-1]) for c in curves)
    start = 0.0 if 0 < start < 0.1 * end else start
    across = Scale(start, end, LEFT, width - RIGHT)
    up = Scale(low, high, TALL - BOTTOM, TOP, logarithmic=logarithmic)
    parts = axes(across, up, width=width)
    for c in curves:
        if c.raw is not None:
            parts.append(f'<path class="raw {c.style}" d="{path(c.x, c.raw, across, up)}"/>')
    parts += [f'<path class="smooth {c.style}" d="{path(c.x, c.smooth, across, up)}"/>' for c in curves]
    if len(curves) > 1:
        parts += legend(curves, width=width)
    facts = [f"{short(float(curves[0].smooth[-1]))} at the end"] if len(curves) == 1 else []
    facts += [text for text in (unit, "log scale" if logarithmic else "") if text]
    return figure(title, " · ".join(facts), "".join(parts), width=width, height=TALL, wide=wide)


def dots(
    title: str, values: Array, *, unit: str, goal: float | None = None, ends: tuple[float, float] | None = None
) -> str:
    """Each value a dot on one axis, the goal a dashed line; dots that would cover each other are piled up.

    The axis reaches from the least to the most of all, and of `ends`, by which several plots have the same.
    """
    shown = [*values.tolist(), *([goal] if goal is not None else []), *(ends or ())]
    room = (max(shown) - min(shown)) * 0.04 + 0.5
    across = Scale(min(shown) - room, max(shown) + room, LEFT, WIDE - RIGHT)
    piles: dict[int, list[float]] = {}
    for value in sorted(values.tolist()):
        piles.setdefault(round(across(value) / 8), []).append(across(value))
    most = max(len(pile) for pile in piles.values())
    step = min(7.0, 200 / most)
    base = round(22 + step * most)
    height = base + BOTTOM
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{base}" y2="{base}"/>']
    for tick in ticks(across.low, across.high, count=8):
        parts.append(f'<text x="{across(tick):.1f}" y="{height - 5}" text-anchor="middle">{short(tick)}</text>')
    if goal is not None:
        x = across(goal)
        parts.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{base}"/>')
        parts.append(f'<text x="{x + 5:.1f}" y="11">goal {short(goal)}</text>')
    for pile in piles.values():
        parts += [f'<circle cx="{x:.1f}" cy="{base - step * n - 6:.1f}" r="3.5"/>' for n, x in enumerate(pile)]
    return figure(title, unit, "".join(parts), width=WIDE, height=height, wide=True)


@dataclass(frozen=True)
class Scale:
    """From values in [low, high] to pixels in [first, last]; values beyond lie on the border."""

    low: float
    high: float
    first: float
    last: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.first + (self.last - self.first) * (at - low) / (high - low or 1.0)


def bounds(curves: Sequence[Curve]) -> tuple[float, float]:
    """Least and most of what is worth showing: all of the smooth lines, the raw ones without their outliers."""
    values = [c.smooth for c in curves]
    values += [np.quantile(c.raw, [0.005, 0.995]) for c in curves if c.raw is not None]
    return float(min(v.min() for v in values)), float(max(v.max() for v in values))


def axes(across: Scale, up: Scale, *, width: int) -> list[str]:
    """Grid lines with their values, and samples seen along the bottom."""
    parts = []
    for tick in log_ticks(up.low, up.high) if up.logarithmic else ticks(up.low, up.high, count=5):
        y = up(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    floor = TALL - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{width - RIGHT}" y1="{floor}" y2="{floor}"/>')
    for tick in ticks(across.low, across.high, count=width // 80):
        if across(tick) < width - 24:
            parts.append(f'<text x="{across(tick):.1f}" y="{TALL - 5}" text-anchor="middle">{short(tick)}</text>')
    return parts


def legend(curves: Sequence[Curve], *, width: int) -> list[str]:
    """A key in the upper right corner."""
    parts = []
    for row, c in enumerate(curves):
        y, x = TOP + 8 + 15 * row, width - RIGHT - 84
        parts.append(f'<line class="key {c.style}" x1="{x}" x2="{x + 10}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{x + 17}" y="{y + 4}">{escape(c.name)}</text>')
    return parts


def path(x: Array, y: Array, across: Scale, up: Scale) -> str:
    """The line through the points; of more than 2 * POINTS, the least and the most of each stretch."""
    if len(x) > 2 * POINTS:
        stretches = np.array_split(np.arange(len(x)), POINTS)
        places = [i for s in stretches for i in sorted({int(s[y[s].argmin()]), int(s[y[s].argmax()])})]
        x, y = x[places], y[places]
    return "M" + "L".join(f"{across(float(a)):.1f} {up(float(b)):.1f}" for a, b in zip(x, y, strict=True))


def ticks(low: float, high: float, *, count: int) -> list[float]:
    """About `count` round values in [low, high]: steps of 1, 2 or 5 times a power of ten."""
    rough = max((high - low) / max(count, 1), 1e-12)
    power = 10 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    return [n * step for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """At most seven values in [low, high]: 1, 2 and 5 times powers of ten, or only the powers, or every so many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [d * 10.0**p for p in range(first, last + 1) for d in digits if low <= d * 10.0**p <= high]
        if len(found) <= 7:
            return found
    return found[:: math.ceil(len(found) / 7)]


def short(value: float) -> str:
    """A number in a few characters: 0.012, 1.5, 20k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}"


def figure(title: str, unit: str, inside: str, *, width: int, height: int, wide: bool) -> str:
    """The frame of a plot: title at the left, unit at the right, picture below."""
    return (
        f"<figure{' class=wide' if wide else ''}>"
        f"<figcaption><b>{escape(title)}</b><span>{escape(unit)}</span></figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{inside}</svg></figure>'
    )
