"""Near duplicates side by side: the sample that is kept, and what is taken for a copy of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from datamodules.report.figures import count, many, percent, span
from datamodules.report.histogram import Axis, histogram
from dit_video.page.document import absent, note

if TYPE_CHECKING:
    from datamodules.report.tables import Dataset
    from datamodules.report.thumbs import Thumbs

PAIRS = 12
LARGEST = 3  # groups of which more than a pair is shown
TILES = 8


def duplicates(dataset: Dataset, thumbs: Thumbs) -> str:
    """How many copies there are, how near they are, and pairs from the most doubtful on."""
    group, copy = dataset.scores.get("duplicates.group"), dataset.scores.get("duplicates.copy")
    if group is None or copy is None:
        return absent(
            "Not looked for yet: there is no scores/duplicates. "
            f"Make it with: python -m datamodules.prepare step=duplicates dataset={dataset.folder}"
        )
    grouped, copies = np.flatnonzero(group >= 0), np.flatnonzero(copy > 0)
    if not len(copies):
        return absent("None were found: no two samples look alike.")
    order = grouped[np.lexsort((grouped, copy[grouped], group[grouped]))]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    members = np.split(order, starts[1:])
    most = max(map(len, members))
    told = (
        f"{many(len(copies), 'sample')} ({percent(len(copies) / len(dataset))}, "
        f"{span(float(dataset.seconds[copies].sum()))}) look like an earlier one, in "
        f"{many(len(members), 'group')}, the largest of {count(most)}. "
        "datamodules.filter.duplicates.copy=[null,0] trains on one of each group."
    )
    return note(told) + spread(dataset) + pairs(dataset, thumbs) + largest(members, thumbs)


def spread(dataset: Dataset) -> str:
    """How far copies are from what they copy."""
    distance, copy = dataset.scores.get("duplicates.distance"), dataset.scores["duplicates.copy"]
    if distance is None:
        return ""
    near = np.where(copy > 0, distance, np.nan)[copy > 0]
    axis = Axis(name="Distance of copies", unit="bits", what="copies")
    return f'<div class="plots spreads">{histogram(near, dataset.seconds[copy > 0], axis)}</div>'


def pairs(dataset: Dataset, thumbs: Thumbs) -> str:
    """Copies beside what they copy, half of them the farthest, the others spread over all distances."""
    group, copy = dataset.scores["duplicates.group"], dataset.scores["duplicates.copy"]
    distance = dataset.scores.get("duplicates.distance", np.zeros(len(dataset)))
    kept = np.flatnonzero((group >= 0) & ~(copy > 0))
    kept = kept[np.argsort(group[kept], kind="stable")]
    copies = np.flatnonzero((copy > 0) & (group >= 0))
    at = np.searchsorted(group[kept], group[copies])
    sure = at < len(kept)
    sure[sure] = group[kept[at[sure]]] == group[copies[sure]]
    copies, at = copies[sure], at[sure]
    order = np.argsort(-np.nan_to_num(distance[copies]), kind="stable")
    half = PAIRS // 2
    rest = order[half:]
    picked = [
        *order[:half],
        *(rest[int(n)] for n in np.unique(np.linspace(0, len(rest) - 1, half).round()) if len(rest)),
    ]
    shown = [pair(int(kept[at[n]]), int(copies[n]), float(distance[copies[n]]), thumbs) for n in picked]
    if not any(shown):
        return ""
    facts = f"{len(shown)} of {count(len(copies))}, the most doubtful first"
    return f'<h3>Kept and copy<small>{facts}</small></h3><div class="pairs-of">{"".join(shown)}</div>'


def pair(kept: int, copy: int, distance: float, thumbs: Thumbs) -> str:
    """Two samples side by side."""
    tiles = thumbs.tile(kept, "kept") + thumbs.tile(copy, escape(f"{distance:.0f} bits apart"))
    return f'<div class="pair">{tiles}</div>' if tiles else ""


def largest(members: list[np.ndarray], thumbs: Thumbs) -> str:
    """The first samples of the largest groups."""
    order = sorted((rows for rows in members if len(rows) > 2), key=lambda rows: (-len(rows), int(rows[0])))
    parts = []
    for rows in order[:LARGEST]:
        tiles = [thumbs.tile(int(row)) for row in rows[:TILES]]
        if any(tiles):
            facts = f"{len(tiles)} of {count(len(rows))}"
            parts.append(f'<h3>Large group<small>{facts}</small></h3><div class="tiles">{"".join(tiles)}</div>')
    return "".join(parts)
