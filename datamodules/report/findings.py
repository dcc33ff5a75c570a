"""What somebody should look at before training: each a line with a figure and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from datamodules.report.figures import count, many, percent, span
from datamodules.report.scores import BORDERS
from dit_video.page.document import shown_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.report.bucketed import Placed
    from datamodules.report.captions import Kind
    from datamodules.report.sidecars import Sidecar
    from datamodules.report.tables import Dataset

DARK, STILL = 0.08, 0.01  # mean luma, short sides a second
ENOUGH = 20  # samples from which on shares say something
WORST, NOTED, GOOD = "wrong", "look", "good"
LIMITS = {  # score: (what is above it is worth a line, share of samples from which on it is, what it is)
    "still": (0.5, 0.01, "repeat most of their frames: frozen video, or a low rate in a high one"),
    "slides": (0.6, 0.01, "change in a few jumps, as slide shows do"),
    "text": (0.15, 0.02, "are covered by what looks like text"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A line of the list: how grave it is, what was found, and the anchor of the section that shows it.

    `drops` are the rows that the filter in its text leaves out.
    """

    state: str
    text: str
    anchor: str
    drops: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the sections found."""

    dataset: Dataset
    placed: Placed
    kinds: Sequence[Kind]
    sidecars: Sequence[Sidecar]
    shown: int
    failed: Sequence[str]
    damaged: Sequence[str]
    media: bool


def findings(facts: Facts) -> list[Finding]:
    """What is wrong first, then what to look at, then what is good."""
    checks = (media, whole, origin, refused, said, scored, copies, fitting)
    found = [item for check in checks for item in check(facts)]
    found += together(facts, [item.drops for item in found if item.drops is not None])
    return sorted(found, key=lambda item: (WORST, NOTED, GOOD).index(item.state))


def together(facts: Facts, drops: Sequence[NDArray[np.bool_]]) -> Iterator[Finding]:
    """What is left where several filters are set at once."""
    if len(drops) > 1:
        kept = ~np.any(drops, axis=0)
        left = span(float(facts.dataset.seconds[kept].sum()))
        text = f"With all of these filters {many(int(kept.sum()), 'sample')} are left ({percent(kept.mean())}, {left})."
        yield Finding(state=NOTED, text=text, anchor="scores")


def media(facts: Facts) -> Iterator[Finding]:
    """Whether the samples that were opened for this page could be read."""
    if not facts.media:
        text = "The media are not where the index says (clips/*.tar): pictures are left out."
        yield Finding(state=WORST, text=text, anchor="look")
    elif facts.failed:
        text = f"{len(facts.failed)} of {facts.shown} samples opened for this page cannot be read: {facts.failed[0]}"
        yield Finding(state=WORST, text=text, anchor="look")
    elif facts.shown:
        text = f"All {facts.shown} samples opened for this page have the hash of the index and can be decoded."
        yield Finding(state=GOOD, text=text, anchor="look")


def whole(facts: Facts) -> Iterator[Finding]:
    """Whether every sidecar can be read, is complete and of this dataset."""
    for text in facts.damaged:
        yield Finding(state=WORST, text=text, anchor="sidecars")
    for item in facts.sidecars:
        if item.stale:
            text = f"{item.name} was made from another dataset than what stands here; make it again under another name."
            yield Finding(state=WORST, text=text, anchor="sidecars")
        if lacking := facts.dataset.shards - item.shards:
            text = f"{item.name} lacks {many(lacking, 'shard')} of {facts.dataset.shards}; run its command again."
            yield Finding(state=WORST, text=text, anchor="sidecars")


def origin(facts: Facts) -> Iterator[Finding]:
    """Whether one source, or one frame rate, is nearly all of it."""
    codes, names = facts.dataset.texts["source"].codes()
    counts = np.bincount(codes)
    largest = int(counts.argmax())
    share = counts[largest] / len(codes)
    if len(codes) >= ENOUGH and share > 0.2:
        what = "All samples come" if share == 1 else f"{percent(share)} of the samples come"
        yield Finding(state=NOTED, text=f"{what} from one source, {names[largest]}.", anchor="sources")


def refused(facts: Facts) -> Iterator[Finding]:
    """Whether much was refused."""
    found = facts.dataset.refused
    files = int(found.whole.sum())
    total = files + len(facts.dataset.texts["source"].codes()[1])
    if files:
        state = NOTED if files > 0.1 * total else GOOD
        text = f"{count(files)} of {many(total, 'raw file')} ({percent(files / total)}) gave nothing."
        yield Finding(state=state, text=text, anchor="dropped")
    lost = float(np.nansum(found.seconds[found.pieces]))
    if lost > 0:
        share = lost / (lost + float(facts.dataset.seconds.sum()))
        text = f"{percent(share)} of the footage of files that were kept was dropped ({span(lost)})."
        yield Finding(state=NOTED if share > 0.2 else GOOD, text=text, anchor="dropped")


def said(facts: Facts) -> Iterator[Finding]:
    """Whether captions are there and differ."""
    kinds = [kind for kind in facts.kinds if kind.have]
    if not kinds:
        yield Finding(state=NOTED, text="No sample has a caption.", anchor="captions")
        return
    best = max(kinds, key=lambda kind: kind.have)
    if best.have < 0.95 * len(facts.dataset):
        text = f"{percent(1 - best.have / len(facts.dataset))} of the samples have no caption, even of {best.name}."
        yield Finding(state=NOTED, text=text, anchor="captions")
    for kind in kinds:
        top = max(kind.frequent.values(), default=0) / kind.have
        if kind.have >= ENOUGH and top > 0.2:
            text = f"{'All' if top == 1 else percent(top)} captions of {kind.name} are the same."
            yield Finding(state=WORST if top > 0.5 else NOTED, text=text, anchor="captions")


def scored(facts: Facts) -> Iterator[Finding]:
    """Samples beyond what is usual in a score, and borders that were cropped."""
    scores, n = facts.dataset.scores, len(facts.dataset)
    for name, (limit, least, told) in LIMITS.items():
        beyond = np.nan_to_num(scores.get(name, np.zeros(n))) > limit
        if (share := float(beyond.mean())) >= least:
            text = (
                f"{percent(share)} of the samples {told}; datamodules.filter.{name}=[null,{limit:g}] leaves them out."
            )
            yield Finding(state=NOTED, text=text, anchor=f"score-{name}", drops=beyond)
    if "motion" in scores:
        beyond = scores["motion"] < STILL
        share = float(beyond.sum() / max((~facts.dataset.image).sum(), 1))
        if share >= 0.02:
            text = (
                f"{percent(share)} of the clips hardly move; datamodules.filter.motion=[{STILL},null] leaves them out."
            )
            yield Finding(state=NOTED, text=text, anchor="score-motion", drops=beyond)
    beyond = scores.get("brightness", np.ones(n)) < DARK
    if (dark := float(beyond.mean())) >= 0.01:
        text = f"{percent(dark)} of the samples are almost black; datamodules.filter.brightness=[{DARK},null]."
        yield Finding(state=NOTED, text=text, anchor="score-brightness", drops=beyond)
    boxed = [np.nan_to_num(scores[name]) > 0 for name in BORDERS if name in scores]
    if boxed and (share := float(np.any(boxed, axis=0).mean())) > 0:
        text = f"{percent(share)} of the samples come from files with black borders."
        yield Finding(state=NOTED if share > 0.1 else GOOD, text=text, anchor="score-border")
    if not scores:
        yield Finding(state=NOTED, text="The index has no scores: it was made by an older version.", anchor="scores")


def copies(facts: Facts) -> Iterator[Finding]:
    """How much is there twice."""
    copy = facts.dataset.scores.get("duplicates.copy")
    if copy is None:
        yield Finding(state=NOTED, text="Near duplicates were not looked for (step=duplicates).", anchor="duplicates")
    elif (share := float((copy > 0).mean())) > 0:
        text = (
            f"{percent(share)} of the samples are near copies of others; datamodules.filter.duplicates.copy=[null,0]."
        )
        state = NOTED if share > 0.01 else GOOD
        yield Finding(state=state, text=text, anchor="duplicates", drops=copy > 0)
    else:
        yield Finding(state=GOOD, text="There are no near duplicates.", anchor="duplicates")


def fitting(facts: Facts) -> Iterator[Finding]:
    """Whether the buckets suit the samples."""
    fits = facts.placed.fits
    short = float((~fits).mean())
    if short > 0:
        text = f"{percent(short)} of the samples are too short for every bucket and take no part."
        yield Finding(state=NOTED if short > 0.01 else GOOD, text=text, anchor="buckets")
    if fits.any() and (large := float((facts.placed.scale[fits] > 1).mean())) > 0.02:
        text = f"{percent(large)} of the samples are smaller than their bucket and would be enlarged; lower pixels=."
        yield Finding(state=NOTED, text=text, anchor="buckets")
    cropped = float(np.mean(facts.placed.cropped[fits])) if fits.any() else 0.0
    if cropped > 0.1:
        text = f"On average {percent(cropped)} of a picture is cropped away; a smaller multiple= loses less."
        yield Finding(state=NOTED, text=text, anchor="buckets")


def listed(found: Sequence[Finding]) -> str:
    """The findings as a list; each leads to its section."""
    marks = {WORST: ("wrong", "✗", "wrong"), NOTED: ("look", "!", "look at"), GOOD: ("right", "✓", "good")}
    lines = []
    for item in found:
        style, mark, name = marks[item.state]
        lines.append(
            f'<li><span class="{style}" role="img" aria-label="{name}">{mark}</span>'
            f'<span>{shown_code(escape(item.text))} <a href="#{item.anchor}">show</a></span></li>'
        )
    return f'<ul class="findings">{"".join(lines)}</ul>' if lines else ""
