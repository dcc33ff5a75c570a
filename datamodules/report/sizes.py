"""How large, long and fast the samples are, and what they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datamodules.report.figures import count, many, percent, span
from datamodules.report.histogram import Axis, histogram, shares
from dit_video.page.document import note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.report.tables import Dataset

LISTED = 10
ASPECTS = {0.25: "1:4", 9 / 16: "9:16", 0.75: "3:4", 1.0: "1:1", 4 / 3: "4:3", 16 / 9: "16:9", 2.4: "2.4:1", 4.0: "4:1"}
BITS = 8e-6  # megabits of a byte


def sizes(dataset: Dataset) -> str:
    """Histograms of short side, aspect, duration, frame rate, frames and bit rate, and the most frequent sizes."""
    numbers, seconds, moving = dataset.numbers, dataset.seconds, ~dataset.image
    height, width = numbers["height"], numbers["width"]

    def drawn(values: NDArray[np.float64], rows: NDArray[np.bool_], axis: Axis) -> str:
        return histogram(values[rows], seconds[rows], axis)

    every = np.ones(len(dataset), dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(seconds > 0, numbers["media_size"] * BITS / seconds, np.nan)
        depth = numbers["media_size"] * 8 / (height * width * numbers["frames"])
        aspect = width / height
    plots = [
        drawn(np.minimum(height, width), every, Axis(name="Short side", unit="pixels", what="samples")),
        drawn(
            aspect, every, Axis(name="Aspect", unit="width : height", marks=ASPECTS, logarithmic=True, what="samples")
        ),
        drawn(numbers["seconds"], moving, Axis(name="Duration", unit="seconds", filter="seconds")),
        drawn(numbers["fps"], moving, Axis(name="Frame rate", unit="frames a second", filter="fps")),
        drawn(numbers["frames"], moving, Axis(name="Length", unit="frames", filter="frames")),
        drawn(rate, moving, Axis(name="Bit rate", unit="Mbit/s")),
        drawn(depth, every, Axis(name="Compression", unit="bits a pixel", what="samples")),
    ]
    told = (
        "Bars count samples, the line is the share below a value (right axis). Move over a plot, or focus it and use "
        "the arrow keys, to read what a threshold there would drop."
    )
    return (
        f'{note(told)}<div class="plots spreads">{"".join(plots)}</div><div class="columns">'
        f"<div><h3>Most frequent sizes</h3>{frequent(dataset)}</div>"
        f"<div><h3>Frame rates</h3>{rates(dataset)}</div></div>"
    )


def frequent(dataset: Dataset) -> str:
    """The most frequent widths and heights."""
    size = dataset.numbers["width"] * 2**20 + dataset.numbers["height"]
    values, counts = np.unique(size, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:LISTED]
    rows = {f"{values[at] // 2**20:.0f} × {values[at] % 2**20:.0f}": (int(counts[at]), "") for at in order}
    rest = len(values) - len(order)
    whole = shares(rows, total=len(dataset))
    return whole + (note(f"and {many(rest, 'other size')}") if rest else "")


def rates(dataset: Dataset) -> str:
    """The most frequent frame rates of clips."""
    fps = np.round(dataset.numbers["fps"][~dataset.image], 3)
    values, counts = np.unique(fps[np.isfinite(fps)], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:LISTED]
    rest = len(values) - len(order)
    whole = shares({f"{values[at]:g} fps": (int(counts[at]), "") for at in order}, total=len(fps))
    return whole + (note(f"and {many(rest, 'other rate')}") if rest else "")


def sources(dataset: Dataset) -> str:
    """Which files and folders the samples come from: the largest of each, and how evenly they give."""
    codes, names = dataset.texts["source"].codes()
    counts = np.bincount(codes, minlength=len(names))
    footage = np.bincount(codes, weights=dataset.seconds, minlength=len(names))
    order = np.argsort(-counts, kind="stable")[:LISTED]
    files = {names[int(at)]: (int(counts[at]), span(float(footage[at]))) for at in order}
    middle = float(np.median(counts))
    told = (
        f"{many(len(dataset), 'sample')} from {many(len(names), 'source file')}; half of the files gave at most "
        f"{count(middle)}, the largest {count(int(counts.max()))} ({percent(counts.max() / len(dataset))})."
    )
    folders = by_folder(codes, names.to_list(), dataset)
    return (
        f'{note(told)}<div class="columns"><div><h3>Files with the most samples</h3>'
        f"{shares(files, total=len(dataset))}</div><div><h3>Folders</h3>{folders}</div></div>"
    )


def by_folder(codes: NDArray[np.int64], names: list[str], dataset: Dataset) -> str:
    """Samples and footage of the topmost folders."""
    tops: dict[str, int] = {}
    place = np.asarray(
        [tops.setdefault(f"{name.split('/')[0]}/" if "/" in name else "(top)", len(tops)) for name in names]
    )
    of_row = place[codes]
    counts = np.bincount(of_row, minlength=len(tops))
    footage = np.bincount(of_row, weights=dataset.seconds, minlength=len(tops))
    listed = sorted(tops, key=lambda name: -counts[tops[name]])[:LISTED]
    rows = {name: (int(counts[tops[name]]), span(float(footage[tops[name]]))) for name in listed}
    rest = len(tops) - len(listed)
    return shares(rows, total=len(dataset)) + (note(f"and {many(rest, 'other folder')}") if rest else "")
