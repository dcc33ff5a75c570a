"""What the training would make of the samples: the bucket of each, what is cropped, enlarged or too short.

The table of buckets is the one of training (`datamodules.buckets`), and so is the choice among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from datamodules.dataset.buckets import Buckets
from datamodules.report.figures import count, many, percent
from datamodules.report.thumbs import sheet
from dit_video.page.document import absent, note
from dit_video.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.report.tables import Dataset
    from datamodules.report.thumbs import Thumbs

    Whole = NDArray[np.int64]

LISTED = 16  # sizes in the table
SHEETS, TILES = 6, 8  # sizes with a sheet, and samples on each


@dataclass(frozen=True, kw_only=True)
class Placed:
    """The bucket of every row: `height`, `width` and `frames`, 0 where a clip is too short for all.

    `scale` is what the picture is enlarged by (below 1: reduced), `cropped` the share of its area that is lost.
    """

    table: Buckets
    height: Whole
    width: Whole
    frames: Whole
    available: Whole
    scale: NDArray[np.float64]
    cropped: NDArray[np.float64]

    @property
    def fits(self) -> NDArray[np.bool_]:
        """Which rows have a bucket."""
        return self.frames > 0


def place(dataset: Dataset, table: Buckets, *, fps: float) -> Placed:
    """The bucket of every row, chosen once for each size that there is."""
    numbers = dataset.numbers
    native = np.nan_to_num(numbers["fps"])
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.floor(numbers["frames"] * fps / native + 1e-6)
    available = np.maximum(np.where(native > 0, reached, 1), 1).astype(np.int64)
    height, width = numbers["height"].astype(np.int64), numbers["width"].astype(np.int64)
    sizes = size_of(available, height, width, table)
    frames = frames_of(available, sizes, table)
    scale = np.maximum(sizes[:, 0] / height, sizes[:, 1] / width)
    with np.errstate(divide="ignore", invalid="ignore"):
        cropped = np.where(scale > 0, 1 - sizes[:, 0] * sizes[:, 1] / (scale**2 * height * width), np.nan)
    return Placed(
        table=table,
        frames=frames,
        height=sizes[:, 0],
        width=sizes[:, 1],
        available=available,
        scale=scale,
        cropped=cropped,
    )


def size_of(available: Whole, height: Whole, width: Whole, table: Buckets) -> Whole:
    """Height and width (n, 2) of each row's bucket. Of its frames only matters which sizes have a bucket so short."""
    shortest = np.unique([counts[0] for counts in table.table.values()])
    level = np.searchsorted(shortest, available, side="right")
    asked, of_row = np.unique((level * 2**20 + height) * 2**20 + width, return_inverse=True)
    sizes = np.zeros((len(asked), 2), dtype=np.int64)
    for at, code in enumerate(asked.tolist()):
        reached, size = divmod(code, 2**40)
        if reached:
            found = table.choose(frames=int(shortest[reached - 1]), height=size // 2**20, width=size % 2**20)
            sizes[at] = (found.height, found.width) if found else 0
    return np.asarray(sizes[of_row])


def frames_of(available: Whole, sizes: Whole, table: Buckets) -> Whole:
    """The most frames that a bucket of each row's size has, of those that the row has; 0 where it has no bucket."""
    frames = np.zeros(len(available), dtype=np.int64)
    code = sizes[:, 0] * 2**20 + sizes[:, 1]
    for counts in set(table.table.values()):
        same = [height * 2**20 + width for (height, width), item in table.table.items() if item == counts]
        rows = np.flatnonzero(np.isin(code, same))
        frames[rows] = np.asarray(counts)[np.searchsorted(counts, available[rows], side="right") - 1]
    return frames


def bucketed(dataset: Dataset, placed: Placed, thumbs: Thumbs, *, told: str) -> str:
    """The sizes with what falls into each, and a sheet of samples for the most frequent, cropped as training does."""
    fits = placed.fits
    if not fits.any():
        return note(told) + absent("No sample has a bucket: all clips are too short.")
    sizes, of_row = np.unique(placed.height * 2**20 + placed.width, return_inverse=True)
    counts = np.bincount(of_row, weights=fits, minlength=len(sizes)).astype(np.int64)
    order = [int(at) for at in np.argsort(-counts, kind="stable") if counts[at]]
    ranked = np.argsort(of_row, kind="stable")
    ends = np.cumsum(np.bincount(of_row, minlength=len(sizes)))
    members = {at: ranked[(ends[at - 1] if at else 0) : ends[at]] for at in order[:LISTED]}
    lines = [line(members[at], placed, most=int(counts[order[0]]), total=len(dataset)) for at in order[:LISTED]]
    rest = int(counts[order[LISTED:]].sum())
    more = f"and {many(len(order) - LISTED, 'other size')} with {many(rest, 'sample')}" if rest else ""
    table = (
        '<div class="scroll"><table class="listed wide"><thead><tr><th>height × width</th><th class="n">samples</th>'
        '<th class="n">share</th><th class="track"></th><th class="n">cropped</th><th class="n">enlarged</th>'
        f"<th>frames of the buckets: samples</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
    sheets = [sheet_of(members[at], placed, thumbs) for at in order[:SHEETS]]
    return note(told) + note(summary(placed)) + table + (note(more) if more else "") + "".join(sheets)


def summary(placed: Placed) -> str:
    """How much is used of the footage."""
    fits = placed.fits
    used = placed.frames[fits].sum() / max(placed.available[fits].sum(), 1)
    return (
        f"{percent(float(fits.mean()))} of the samples have a bucket; {count(int((~fits).sum()))} are too short. "
        f"On average {percent(float(np.mean(placed.cropped[fits])))} of a picture is cropped away; "
        f"{percent(float((placed.scale[fits] > 1).mean()))} are enlarged. One pass shows {percent(float(used))} of the "
        "frames, the rest of a clip comes in other passes."
    )


def line(rows: Whole, placed: Placed, *, most: int, total: int) -> str:
    """A row of the table."""
    height, width = int(placed.height[rows[0]]), int(placed.width[rows[0]])
    values, counts = np.unique(placed.frames[rows], return_counts=True)
    parts = " ".join(
        f"<span>{value}: {count(int(n))}</span>" for value, n in zip(values.tolist(), counts.tolist(), strict=True)
    )
    return (
        f'<tr><td class="name">{height} × {width}</td><td class="n">{count(len(rows))}</td>'
        f'<td class="n">{percent(len(rows) / total)}</td>'
        f'<td class="track"><div class="bar" style="--p:{len(rows) / most:.4f}"></div></td>'
        f'<td class="n soft">{percent(float(placed.cropped[rows].mean()))}</td>'
        f'<td class="n soft">{percent(float((placed.scale[rows] > 1).mean()))}</td>'
        f'<td class="soft pairs">{parts}</td></tr>'
    )


def sheet_of(rows: Whole, placed: Placed, thumbs: Thumbs) -> str:
    """Samples of one size, drawn by chance, as training crops them."""
    height, width = int(placed.height[rows[0]]), int(placed.width[rows[0]])
    picked = np.sort(rng(0, "report", "bucket", height, width).choice(rows, min(TILES, len(rows)), replace=False))
    tiles = [
        thumbs.tile(int(row), escape(f"{placed.frames[row]} of {placed.available[row]} frames"), aspect=width / height)
        for row in picked.tolist()
    ]
    facts = f"{min(TILES, len(rows))} of {count(len(rows))}, as they are cropped"
    whole = sheet(tiles)
    return f"<h3>{height} × {width}<small>{facts}</small></h3>{whole}" if whole else ""


def explain(*, sizes: Sequence[str] | None, pixels: int, frames: int, time: int, multiple: int, fps: float) -> str:
    """What the table was made with, in words."""
    if sizes:
        made = f"Buckets as given by hand: {', '.join(sizes)}"
    else:
        made = (
            f"Buckets of at most pixels={pixels} in steps of multiple={multiple}, "
            f"of up to frames={frames} frames (1 + k · time={time})"
        )
    return f"{made}, at fps={fps:g}. Give the keys of your training to see what it would make of this dataset."
