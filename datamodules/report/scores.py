"""Every score of the index and its sidecars: how it spreads, and samples from its least to its most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from datamodules.report.figures import many, percent
from datamodules.report.histogram import Axis, histogram, shares
from datamodules.report.thumbs import sheet
from dit_video.page.document import absent, note
from dit_video.page.plots import short

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.dataset.columns import Texts
    from datamodules.report.tables import Dataset
    from datamodules.report.thumbs import Thumbs

ENDS = 4  # samples at each end of a score
ENDS_OF = 64  # samples among which those of different sources are looked for
ALIKE = 2  # samples of one value
BETWEEN = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)  # quantiles of those between
BORDERS = ("border_top", "border_bottom", "border_left", "border_right")
LADDERS = 20  # scores with samples; more have their plots alone
FLAGS = {
    "interlaced": "interlaced",
    "variable": "of variable frame rate",
    "hdr": "high dynamic range, brought to BT.709",
    "full_range": "of full range, brought to limited",
    "rotation": "turned when shown",
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is known of a score: its `title`, its `unit`, what it `told`s, and the names of its two ends."""

    title: str
    unit: str = ""
    told: str = ""
    least: str = "least"
    most: str = "most"
    crop: bool = False


KNOWN = {
    "motion": Score(
        title="Motion",
        unit="short sides a second",
        told="Mean optical flow. Near 0 is a still picture; the most are pans, shakes and cuts that were missed.",
        least="least motion",
        most="most motion",
    ),
    "still": Score(
        title="Still frames",
        unit="share of frames",
        told="Frames that repeat the one before: frozen video, or a low frame rate in a high one.",
    ),
    "slides": Score(
        title="Slide shows",
        unit="share of change",
        told="Change that lies in the tenth of the frames that change most: 0.1 is even, 1 a slide show.",
    ),
    "sharpness": Score(
        title="Sharpness",
        unit="variance of Laplacian",
        told="Shown is the middle of a frame in its own pixels, since any picture is sharp when it is small.",
        least="blurriest",
        most="sharpest, or noisy",
        crop=True,
    ),
    "brightness": Score(title="Brightness", unit="mean luma", least="darkest", most="brightest"),
    "contrast": Score(title="Contrast", unit="deviation of luma", least="flattest"),
    "text": Score(
        title="Text",
        unit="share of the picture",
        told="What looks like text: titles, subtitles, screens.",
        most="most text",
    ),
    "border": Score(
        title="Black borders",
        unit="share of the source",
        told="Area of the source file's picture that is black border: what is cropped, unless crop_borders=false.",
        least="none",
        most="widest",
    ),
}


def scores(dataset: Dataset, thumbs: Thumbs) -> str:
    """A plot and a ladder of samples for each score, then the flags of source files."""
    listed = {
        name: values
        for name, values in dataset.scores.items()
        if name not in FLAGS and name not in BORDERS and not name.startswith("duplicates.")
    }
    if set(BORDERS) <= set(dataset.scores):
        listed["border"] = border(dataset)
    if not listed:
        return absent("The index has no scores: it was made by an older version. Curate again to have them.")
    order = sorted(listed, key=lambda name: ([*KNOWN].index(name) if name in KNOWN else len(KNOWN), name))
    constant: list[str] = []
    parts: list[str] = []
    for name in order:
        values = listed[name]
        known = np.isfinite(values)
        if not known.any() or values[known].min() == values[known].max():
            constant.append(f"{name} ({f'always {short(float(values[known][0]))}' if known.any() else 'never known'})")
        else:
            parts.append(card(name, values, dataset, thumbs, ladders=len(parts) < LADDERS))
    told = (
        "To choose a threshold, look along a row of samples, which rise from left to right, then read off the plot "
        "what would be lost. A threshold is a setting of training and costs nothing: nothing needs to be curated again."
    )
    same = note(f"The same for all samples: {', '.join(constant)}.") if constant else ""
    cards = f'<div class="cards{"" if thumbs.there else " bare"}">{"".join(parts)}</div>'
    return note(told) + cards + same + flags(dataset)


def border(dataset: Dataset) -> NDArray[np.float64]:
    """The share of the source's picture that is black border."""
    top, bottom, left, right = (dataset.scores[name] for name in BORDERS)
    return np.asarray(1 - (1 - top - bottom) * (1 - left - right))


def card(name: str, values: NDArray[np.float64], dataset: Dataset, thumbs: Thumbs, *, ladders: bool) -> str:
    """One score: plot at the left, samples at the right."""
    score = KNOWN.get(name, Score(title=name))
    key = name if name in dataset.scores else ""
    axis = Axis(name=score.title, unit=score.unit, filter=key, what="samples")
    rows = ladder(values, dataset.texts["source"]) if ladders else {}
    tiles = [
        thumbs.tile(row, f"<b>{short(float(values[row]))}</b> {escape(said)}", crop=score.crop)
        for row, said in rows.items()
    ]
    ends = (
        f"<p class=ends><span>{escape(score.least)}</span><span>{escape(score.most)}</span></p>" if any(tiles) else ""
    )
    told = f"<p class=note>{escape(score.told)}</p>" if score.told else ""
    return (
        f'<div class="card" id="score-{escape(name)}"><div class="plots spreads">'
        f"{histogram(values, dataset.seconds, axis)}</div><div>{told}{ends}{sheet(tiles)}</div></div>"
    )


def ladder(values: NDArray[np.float64], sources: Texts) -> dict[int, str]:
    """Rows from the least to the most of a score, with the share below: few of a value, at the ends of many sources."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    n = len(order)
    near = [order[:ENDS_OF], order[::-1][:ENDS_OF]]
    low, high = (varied([sources[int(row)] for row in rows], most=ENDS) for rows in near)
    places = {*low, *(n - 1 - at for at in high), *(int(part * (n - 1)) for part in BETWEEN)}
    ranked = values[order]
    first = np.searchsorted(ranked, ranked)
    kept: dict[int, int] = {}
    for at in sorted(places):
        if list(kept.values()).count(int(first[at])) < ALIKE:
            kept[at] = int(first[at])
    return {int(order[at]): said(below / n) for at, below in kept.items()}


def varied(names: Sequence[str], *, most: int) -> list[int]:
    """Places of the first so many names, other names before those that came already."""
    fresh = [at for at, name in enumerate(names) if name not in names[:at]]
    again = [at for at in range(len(names)) if at not in fresh]
    return sorted([*fresh, *again][:most])


def said(below: float) -> str:
    """The share below in a few characters."""
    return f"{percent(below)} below" if below else "the least"


def flags(dataset: Dataset) -> str:
    """How many samples come from source files of an unusual kind."""
    rows = {}
    for name, told in FLAGS.items():
        values = dataset.scores.get(name)
        if values is not None and (number := int((np.nan_to_num(values) != 0).sum())):
            rows[told] = (number, f"datamodules.filter.{name}=[null,0] leaves them out")
    if not any(name in dataset.scores for name in FLAGS):
        return ""
    body = shares(rows, total=len(dataset)) if rows else note("None of the source files was unusual.")
    return f"<h3>Source files of an unusual kind<small>{many(len(dataset), 'sample')} in all</small></h3>{body}"
