"""Numbers as people read them, with their units after a space at which no line breaks."""

from __future__ import annotations

import math
import re

GAP = "\u00a0"


def count(number: float) -> str:
    """A whole number with thousands apart: 1,234,567."""
    return f"{number:,.0f}"


def brief(number: int) -> str:
    """A whole number, from ten million on in millions."""
    return count(number) if number < 10_000_000 else f"{number / 1e6:,.1f}{GAP}M"


def many(number: int, one: str, several: str = "") -> str:
    """A count and its noun: 1 clip, 2 clips."""
    return f"{count(number)} {one if number == 1 else several or one + 's'}"


def percent(share: float) -> str:
    """A share of one: 4.2 %; what is not nothing is not shown as nothing, nor what is not all as all."""
    if not math.isfinite(share):
        return "–"
    value = 100 * share
    if 0 < value < 0.05 or 99.95 < value < 100:
        return f"< 0.1{GAP}%" if value < 1 else f"> 99.9{GAP}%"
    digits = 0 if value in {0.0, 100.0} or 10 <= value <= 90 else 1
    return f"{value:.{digits}f}{GAP}%"


def span(seconds: float) -> str:
    """A length of footage in the unit that suits it: 8.2 s, 3.4 min, 12.5 h."""
    for size, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            value = seconds / size
            return f"{value:,.1f}{GAP}{name}" if value < 100 else f"{value:,.0f}{GAP}{name}"
    return f"{seconds:.1f}{GAP}s"


def volume(size: float) -> str:
    """Bytes in the unit that suits them, by powers of a thousand: 3.2 GB."""
    for power, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= power:
            return f"{size / power:,.3g}{GAP}{name}"
    return f"{size:.0f}{GAP}bytes"


def big(text: str) -> str:
    """A figure as HTML for a headline, its unit in small."""
    return re.sub(r"[ \u00a0](%|h|min|s|TB|GB|MB|kB|M|bytes)$", r" <small>\1</small>", text)
