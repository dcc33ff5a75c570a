"""The report of a dataset: what there is of it, what was thrown away and why, and what a threshold would lose.

One HTML page that opens from a disk and asks nothing of any network. Figures count every row; pictures are of a few
samples, drawn by a generator with a fixed seed, so equal datasets give equal pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.dataset import buckets
from datamodules.files import storage
from datamodules.report import style, tables
from datamodules.report.bucketed import bucketed, explain, place
from datamodules.report.captions import captions, kinds
from datamodules.report.dropped import dropped
from datamodules.report.duplicates import duplicates
from datamodules.report.figures import big, brief, count, span, volume
from datamodules.report.findings import Facts, findings, listed
from datamodules.report.scores import scores
from datamodules.report.sidecars import find
from datamodules.report.sidecars import listed as sidecar_table
from datamodules.report.sizes import sizes as size_plots
from datamodules.report.sizes import sources
from datamodules.report.thumbs import Thumbs, sheet
from dit_video import log
from dit_video.errors import ConfigError
from dit_video.page.document import Section, absent, document, note
from dit_video.seeds import rng

if TYPE_CHECKING:
    from datamodules.report.tables import Dataset

LOOK = 24  # samples of the first sheet
FILE = "report.html"


def report(
    *,
    dataset: str,
    out: str | None = None,
    sizes: Sequence[str] | None = None,
    pixels: int = 128 * 128,
    frames: int = 17,
    time: int = 4,
    multiple: int = 16,
    fps: float = 12.0,
) -> None:
    """Write the report of a dataset: one HTML page with all that one should know before training on it.

    Args:
        dataset: folder or URL of a curated dataset.
        out: the page; by default report.html in the dataset, of a URL in the present folder.
        sizes: buckets as FRAMESxHEIGHTxWIDTH; by default they are generated from `pixels` and `frames`.
        pixels: most pixels of a frame, as in the training's datamodule; so are the keys below.
        frames: most frames of a clip.
        time: frames are 1 + k * time.
        multiple: height and width are multiples of it.
        fps: frames per second that clips are brought to.
    """
    if fps <= 0 or time < 1 or multiple < 1:
        raise ConfigError(f"fps={fps:g}, time={time} and multiple={multiple} must be above 0")
    table = buckets.buckets(sizes=sizes, pixels=pixels, frames=frames, time=time, multiple=multiple)
    target = Path(out) if out else (storage.local(dataset) if storage.is_local(dataset) else Path()) / FILE
    found = tables.load(dataset)
    told = explain(sizes=sizes, pixels=pixels, frames=frames, time=time, multiple=multiple, fps=fps)
    html = page(found, table, fps=fps, told=told)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{target} cannot be written ({error.strerror}); give out=FILE") from error
    log.say(f"{count(len(found))} samples, {volume(len(html.encode()))} -> {target}")


def page(found: Dataset, table: buckets.Buckets, *, fps: float, told: str) -> str:
    """The whole page."""
    thumbs = Thumbs(dataset=found, there=storage.exists(first_tar(found)))
    placed = place(found, table, fps=fps)
    spoken, damaged = kinds(found)
    beside = find(found)
    sections = [
        Section("look", "A look", look(found, thumbs)),
        Section("dropped", "Dropped, and why", dropped(found, thumbs)),
        Section("sizes", "Sizes and lengths", size_plots(found)),
        Section("scores", "Scores and thresholds", scores(found, thumbs)),
        Section("buckets", "Buckets", bucketed(found, placed, thumbs, told=told)),
        Section("duplicates", "Near duplicates", duplicates(found, thumbs)),
        Section("captions", "Captions", captions(found, spoken, thumbs)),
        Section("sources", "Sources", sources(found)),
        Section("sidecars", "Sidecars", sidecar_table(found, beside)),
    ]
    pictures = style_of(thumbs)
    facts = Facts(
        dataset=found,
        placed=placed,
        kinds=spoken,
        sidecars=beside,
        shown=len({picture.row for picture in thumbs.asked if picture.row >= 0}),
        failed=list(thumbs.failed.values()),
        damaged=[f"{name}: {why}" for name, why in ({**found.damaged, **damaged}).items()],
        media=thumbs.there,
    )
    name = storage.shown(found.folder).rstrip("/").rsplit("/", 1)[-1]
    return document(
        f"{name} – dataset report",
        head(name, found) + listed(findings(facts)),
        sections,
        style=style.STYLE + pictures,
        script=style.SCRIPT,
    )


def first_tar(found: Dataset) -> str:
    """The tar that holds the first sample."""
    return storage.join(found.folder, "clips", f"{int(found.numbers['shard'][0]):06d}.tar")


def style_of(thumbs: Thumbs) -> str:
    """The pictures, with a progress line while they are made."""
    if not thumbs.asked:
        return ""
    items = log.progress(thumbs.made(), what="pictures", total=len(thumbs.asked), unit="sample")
    return "\n".join(items)


def head(name: str, found: Dataset) -> str:
    """The name of the dataset, and the figures that say how much it is."""
    clips, images = int((~found.image).sum()), int(found.image.sum())
    seconds = float(found.seconds.sum())
    media = float(np.nansum(found.numbers["media_size"]))
    files = len(found.texts["source"].codes()[1])
    cells = {
        "Clips": brief(clips),
        "Images": brief(images),
        "Footage": span(seconds),
        "Media": volume(media),
        "Shards": brief(found.shards),
        "Files kept": brief(files),
        "Files refused": brief(int(found.refused.whole.sum())),
        "Pieces dropped": brief(int(found.refused.pieces.sum())),
    }
    strip = "".join(f"<div><dt>{key}</dt><dd>{big(value)}</dd></div>" for key, value in cells.items())
    mark = str(found.about["fingerprint"])
    return (
        f"<h1>{escape(name)}</h1><p class=lede>{escape(storage.shown(found.folder))}</p>"
        f'<dl class="figures">{strip}</dl>'
        f"<p class=note>Fingerprint <code>{escape(mark)}</code></p>"
    )


def look(found: Dataset, thumbs: Thumbs) -> str:
    """Samples drawn by chance, as they are."""
    rows = np.sort(rng(0, "report", "look").choice(len(found), min(LOOK, len(found)), replace=False)).tolist()
    whole = sheet([thumbs.tile(row) for row in rows])
    if not whole:
        return absent("The media are not where the index says, so there are no pictures on this page.")
    told = "Samples drawn by chance, as they are stored. Under the pointer a clip moves and says what it is."
    return note(told) + whole
