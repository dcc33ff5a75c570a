"""Numbers, times and tables as a person reads them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BARS = "▁▂▃▄▅▆▇█"
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def span(seconds: float) -> str:
    """A length of time in the one or two units that matter: 12 s, 5 min, 3 h 20 min, 2 d 4 h."""
    left = max(round(seconds), 0)
    for (name, size), (smaller, part) in pairwise(UNITS):
        if left >= size:
            whole, rest = divmod(left, size)
            more = f" {rest // part} {smaller}" if whole < 10 and rest >= part and name != "min" else ""
            return f"{whole} {name}{more}"
    return f"{left} s"


def age(seconds: float) -> str:
    """A length of time in the one unit that matters: 12 s, 5 min, 3 h, 2 d."""
    return " ".join(span(seconds).split()[:2])


def count(value: float | None) -> str:
    """A whole number with its thousands marked."""
    return "" if value is None else f"{value:,.0f}"


def figure(value: float | None) -> str:
    """A number of four digits; "" where there is none."""
    if value is None:
        return ""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    digits = 3 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(min(digits, 6), 0)}f}" if abs(value) >= 1e-4 else f"{value:.2e}"


def rate(value: float | None) -> str:
    """Something a second: three digits, thousands as k, millions as M."""
    if value is None:
        return ""
    for mark, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{mark}"
    return f"{value:.3g}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: what stands over it, its cells, and its rank; the highest go first where there is no room.

    `least` letters are left of a text that is cut for want of room, its end where `end` says so; 0: it is not cut.
    """

    head: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False
    least: int = 0
    end: bool = False

    @property
    def width(self) -> int:
        """Letters of its longest cell."""
        return max(len(self.head), *(len(cell) for cell in self.cells))


def table(columns: Sequence[Column], *, width: int | None) -> list[str]:
    """Lines of at most `width` letters; columns without a cell are left out. None is as wide as it needs."""
    kept = [column for column in columns if any(column.cells) or not column.rank]
    while width is not None and len(kept) > 1 and needed(kept) > width and max(item.rank for item in kept):
        kept.remove(max(kept, key=lambda item: item.rank))
    widths = [column.width for column in kept]
    for at, column in enumerate(kept):
        over = sum(widths) + 2 * (len(widths) - 1) - width if width is not None else 0
        if over > 0 and column.least:
            widths[at] = max(widths[at] - over, min(column.least, widths[at]))
    rows = zip(*([column.head, *column.cells] for column in kept), strict=True)
    return ["  ".join(map(cell, row, widths, kept)).rstrip() for row in rows]


def needed(columns: Sequence[Column]) -> int:
    """The least width of a table of them."""
    each = [min(column.width, column.least) if column.least else column.width for column in columns]
    return sum(each) + 2 * (len(each) - 1)


def cell(value: str, width: int, column: Column) -> str:
    """A text in its place, cut where it is too long."""
    shown = short(value, width, end=column.end)
    return shown.rjust(width) if column.right else shown.ljust(width)


def short(value: str, width: int, *, end: bool = False) -> str:
    """A text in at most `width` letters, with a mark where it goes on; its `end` is kept, or its beginning."""
    line = " ".join(value.split())
    if len(line) <= width:
        return line
    return f"…{line[1 - width :]}" if end else f"{line[: width - 1]}…"


def wrapped(line: str, *, width: int | None) -> list[str]:
    """A line as several of at most `width` letters, the following ones indented."""
    if width is None or len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def curve(values: Sequence[float], *, width: int) -> str:
    """A line of bars: the mean of each of `width` stretches, on a scale of logarithms where all are positive."""
    found = [value for value in values if math.isfinite(value)]
    if not found:
        return ""
    pieces = min(width, len(found))
    edges = [round(at * len(found) / pieces) for at in range(pieces + 1)]
    means = [sum(found[a:b]) / (b - a) for a, b in pairwise(edges)]
    scaled = [math.log(mean) for mean in means] if min(means) > 0 else means
    low, high = min(scaled), max(scaled)
    step = (high - low) / (len(BARS) - 1) or 1.0
    return "".join(BARS[round((value - low) / step)] for value in scaled)
