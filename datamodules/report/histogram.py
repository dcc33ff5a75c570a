"""How a number spreads over a dataset: bars, the share below each value as a line, and a threshold to try out.

The slider over the plot says what a threshold there would drop, in clips and in hours; without scripts the line and its
axis on the right say the share. Values are counted, never drawn by chance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from datamodules.report.figures import count, percent
from dit_video.page.plots import BOTTOM, LEFT, NARROW, TALL, Scale, log_ticks, short, ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Real = NDArray[np.float64]

BARS = 40
STOPS = 120  # of the slider
FEW = 20  # whole numbers that each have a bar of their own
OUTLIERS = (0.002, 0.998)  # quantiles beyond which values share the outermost bar
TOP, RIGHT = 10, 46  # margins in pixels; the share's axis stands at the right
DECADES = 30.0  # quantiles 98 % over 2 % from which on the axis is logarithmic


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What is counted: its `name`, its `unit`, the `filter` key that a threshold on it has, and how it is drawn.

    `marks` are ticks with names of their own; `logarithmic` None chooses by the values.
    """

    name: str
    unit: str = ""
    told: str = ""
    filter: str = ""
    what: str = "clips"
    marks: Mapping[float, str] | None = None
    logarithmic: bool | None = None


def histogram(values: Real, seconds: Real, axis: Axis) -> str:
    """A figure of the finite ones of `values`, each of so many `seconds` of footage; "" where there are none."""
    kept = np.isfinite(values)
    order = np.argsort(values[kept], kind="stable")
    ranked, footage = values[kept][order], np.cumsum(seconds[kept][order])
    if not len(ranked):
        return ""
    across = scale_of(ranked, axis)
    edges = edges_of(ranked, across)
    below = np.searchsorted(ranked, edges[1:-1])
    counts = np.diff(np.concatenate([[0], below, [len(ranked)]]))
    parts = [*drawn_axes(across, axis), *bars(counts, edges, across, axis), line(ranked, across)]
    parts.append(f'<line class="at" x1="0" x2="0" y1="{TOP}" y2="{TALL - BOTTOM}"/>')
    unknown = len(values) - len(ranked)
    facts = [text for text in (axis.unit, f"{count(unknown)} unknown" if unknown else "") if text]
    facts += ["log scale"] if across.logarithmic else []
    return (
        f'<figure class="spread"{tried(ranked, footage, across, axis)}>'
        f"<figcaption><b>{escape(axis.name)}</b><span>{escape(' · '.join(facts))}</span></figcaption>"
        f'<div class="field"><svg viewBox="0 0 {NARROW} {TALL}" role="img" '
        f'aria-label="{escape(axis.name)}: {escape(quantiles(ranked))}">{"".join(parts)}</svg>'
        f'<input type="range" min="0" max="{STOPS}" value="0" aria-label="threshold on {escape(axis.name)}"></div>'
        f"<output>{escape(quantiles(ranked))}</output></figure>"
    )


def quantiles(ranked: Real) -> str:
    """The middle and the ends of sorted values in words."""
    if ranked[0] == ranked[-1]:
        return f"all are {short(float(ranked[0]))}"
    names = {"least": 0.0, "5 %": 0.05, "half": 0.5, "95 %": 0.95, "most": 1.0}
    at = {name: ranked[min(int(part * len(ranked)), len(ranked) - 1)] for name, part in names.items()}
    return " · ".join(f"{name} {short(float(value))}" for name, value in at.items())


def scale_of(ranked: Real, axis: Axis) -> Scale:
    """From values to pixels: between the outliers, logarithmic where the values span decades."""
    low, high = (float(ranked[min(int(part * len(ranked)), len(ranked) - 1)]) for part in OUTLIERS)
    if whole(ranked):
        return Scale(float(ranked[0]) - 0.5, float(ranked[-1]) + 0.5, LEFT, NARROW - RIGHT)
    if high == low:
        low, high = float(ranked[0]), float(ranked[-1])
    logarithmic = axis.logarithmic
    if logarithmic is None:
        bottom, top = ranked[int(0.02 * len(ranked))], ranked[int(0.98 * len(ranked))]
        logarithmic = bool(bottom > 0 and top / bottom > DECADES)
    logarithmic = logarithmic and low > 0
    if high == low:
        room = abs(high) * 0.1 or 1.0
        low, high = (low / 1.5, high * 1.5) if logarithmic else (low - room, high + room)
    return Scale(low, high, LEFT, NARROW - RIGHT, logarithmic=logarithmic)


def edges_of(ranked: Real, across: Scale) -> Real:
    """Borders of the bars: one for each of a few whole numbers, else equally wide on the axis."""
    if whole(ranked):
        return np.arange(ranked[0], ranked[-1] + 2) - 0.5
    spaced = np.geomspace if across.logarithmic else np.linspace
    return np.asarray(spaced(across.low, across.high, BARS + 1))


def whole(ranked: Real) -> bool:
    """Whether sorted values are whole numbers near each other."""
    return bool(0 < ranked[-1] - ranked[0] <= FEW and (ranked == np.round(ranked)).all())


def drawn_axes(across: Scale, axis: Axis) -> list[str]:
    """The floor with its values, and the share below with its axis at the right."""
    floor = TALL - BOTTOM
    parts = [f'<line class="axis" x1="{LEFT}" x2="{NARROW - RIGHT}" y1="{floor}" y2="{floor}"/>']
    for tick, text in places(across, axis).items():
        parts.append(f'<text x="{across(tick):.1f}" y="{TALL - 5}" text-anchor="middle">{escape(text)}</text>')
    middle, upper = (TOP + floor) / 2, (2 * TOP + floor) / 3
    turned = '<text transform="translate({} {:.0f}) rotate(-90)" text-anchor="middle">{}</text>'
    parts += [turned.format(11, middle, escape(axis.what)), turned.format(NARROW - 5, upper, "share below")]
    for share in (0, 0.5, 1):
        y = floor - share * (floor - TOP)
        parts.append(f'<text class="share" x="{NARROW - RIGHT + 5}" y="{y + 4:.1f}">{share:.0%}</text>')
        if share:
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{NARROW - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    return parts


def places(across: Scale, axis: Axis) -> dict[float, str]:
    """Ticks of the axis with what is written at them."""
    if axis.marks:
        return {tick: text for tick, text in axis.marks.items() if across.low <= tick <= across.high}
    found = log_ticks(across.low, across.high) if across.logarithmic else ticks(across.low, across.high, count=5)
    return {tick: short(tick) for tick in found}


def bars(counts: NDArray[np.int64], edges: Real, across: Scale, axis: Axis) -> list[str]:
    """A bar for each stretch, with what is in it; the most is written at the left."""
    floor, most = TALL - BOTTOM, int(counts.max())
    up = Scale(0.0, float(most), floor, TOP)
    parts = [f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end">{short(most)}</text>']
    parts.append(f'<text x="{LEFT - 6}" y="{floor + 4}" text-anchor="end">0</text>')
    for n, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if not n:
            continue
        left, right = across(float(low)), across(float(high))
        gap = 0.5 if right - left > 2 else 0.0
        y = min(up(n), floor - 1.0)
        said = f"{short(float(low))} to {short(float(high))} {axis.unit}: {count(n)} {axis.what}"
        parts.append(
            f'<rect class="pile" x="{left + gap:.1f}" width="{max(right - left - 2 * gap, 1):.1f}" y="{y:.1f}" '
            f'height="{floor - y:.1f}"><title>{escape(said)}</title></rect>'
        )
    return parts


def line(ranked: Real, across: Scale) -> str:
    """The share of values below each place of the axis."""
    floor = TALL - BOTTOM
    values = stops(across)
    shares = np.searchsorted(ranked, values) / len(ranked)
    pairs = [f"{across(float(v)):.1f} {floor - s * (floor - TOP):.1f}" for v, s in zip(values, shares, strict=True)]
    pairs.append(f"{across(across.high):.1f} {TOP}")
    return f'<path class="below" d="M{"L".join(pairs)}"/>'


def stops(across: Scale) -> Real:
    """Values along the axis, rounded to what a person would type, rising."""
    spaced = np.geomspace if across.logarithmic else np.linspace
    raw = spaced(across.low, across.high, STOPS + 1)
    steps = raw if across.logarithmic else np.full(len(raw), 10 * (raw[1] - raw[0]))
    digits = [2 - math.floor(math.log10(step)) for step in steps]
    rounded = [round(float(value), count) for value, count in zip(raw, digits, strict=True)]
    return np.maximum.accumulate(np.asarray(rounded))


def tried(ranked: Real, footage: Real, across: Scale, axis: Axis) -> str:
    """What the script needs to say what a threshold drops: values, and counts and hours below and above each."""
    values = stops(across)
    below = np.searchsorted(ranked, values, side="left")
    above = len(ranked) - np.searchsorted(ranked, values, side="right")
    hours = np.concatenate([[0.0], footage]) / 3600
    about = {
        "values": [float(value) for value in values],
        "below": below.tolist(),
        "above": above.tolist(),
        "hours": [
            [float(f"{hours[n]:.4g}") for n in below],
            [float(f"{hours[-1] - hours[-1 - n]:.4g}") for n in above],
        ],
        "n": len(ranked),
        "x": [float(f"{across(float(value)):.1f}") for value in values],
        "unit": axis.unit,
        "what": axis.what,
        "filter": axis.filter,
    }
    return f" data-spread='{escape(json.dumps(about, separators=(',', ':')), quote=True)}'"


def shares(rows: Mapping[str, tuple[int, str]], *, total: int) -> str:
    """Horizontal bars: a name, its count and share of `total`, and a word about it."""
    most = max((n for n, _ in rows.values()), default=0) or 1
    lines = [
        f'<tr><td class="name">{escape(name)}</td><td class="n">{count(n)}</td>'
        f'<td class="n">{percent(n / total) if total else ""}</td>'
        f'<td class="track"><div class="bar" style="--p:{n / most:.4f}"></div></td>'
        f'<td class="soft">{escape(said)}</td></tr>'
        for name, (n, said) in rows.items()
    ]
    return f'<div class="scroll"><table class="listed"><tbody>{"".join(lines)}</tbody></table></div>'
