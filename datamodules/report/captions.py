"""Captions of each kind: how many, how long, how varied, and what they say of the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.dataset.columns import Texts
from datamodules.report.figures import count, many, percent
from datamodules.report.histogram import Axis, histogram, shares
from datamodules.report.tables import aligned_texts, sidecar_names
from dit_video.errors import DataError
from dit_video.page.document import absent, note
from dit_video.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.report.tables import Dataset
    from datamodules.report.thumbs import Thumbs

SOURCE = "source"
SHOWN = 8  # samples with all of their captions
FREQUENT = 5  # repeated captions of a kind
DRAWN = 20_000  # captions whose words are counted


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Captions of one name: `words` by row, NaN where a sample has none; figures of them all.

    `distinct` counts different captions, `vocabulary` different words in a draw of `drawn`, `same` those that equal the
    source caption; `models` and `created` are who wrote them, and from when to when.
    """

    name: str
    words: NDArray[np.float64]
    distinct: int
    frequent: Mapping[str, int]
    vocabulary: int
    drawn: int
    same: int
    models: tuple[str, ...] = ()
    created: tuple[str, str] | None = None
    samples: Mapping[int, str] | None = None

    @property
    def have(self) -> int:
        """How many samples have one."""
        return int(np.isfinite(self.words).sum())


def kinds(dataset: Dataset) -> tuple[list[Kind], dict[str, str]]:
    """The captions of every name, and of the names that cannot be read why."""
    source = dataset.texts["caption"]
    tables: dict[str, Any] = {SOURCE: source} | dict.fromkeys(sidecar_names(dataset.folder, "captions"))
    found, damaged, rows = [], {}, picked(dataset)
    for name in tables:
        try:
            texts, table = (source, None) if name == SOURCE else aligned_texts(dataset, name)
        except DataError as error:
            damaged[f"captions/{name}"] = str(error)
            continue
        found.append(measured(name, texts, source, table=table, rows=rows))
    return found, damaged


def picked(dataset: Dataset) -> list[int]:
    """Rows whose captions are shown, drawn by chance, those with a caption before others."""
    import pyarrow.compute as pc

    known = np.flatnonzero(
        np.asarray(pc.fill_null(pc.greater(pc.utf8_length(dataset.texts["caption"].values), 0), False))
    )
    pool = known if len(known) >= SHOWN else np.arange(len(dataset))
    return sorted(rng(0, "report", "captions").choice(pool, min(SHOWN, len(pool)), replace=False).tolist())


def measured(name: str, texts: Texts, source: Texts, *, table: Any, rows: list[int]) -> Kind:
    """The figures of captions in the rows of the index; an empty caption is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = texts.values
    there = np.asarray(pc.fill_null(pc.greater(pc.utf8_length(values), 0), False))
    words = np.asarray(pc.fill_null(pc.count_substring(values, " "), 0), dtype=np.float64) + 1  # curate leaves no runs
    known = values if there.all() else values.filter(pa.array(there))
    counts = known.value_counts()
    numbers = counts.field("counts").to_numpy()
    order = [int(at) for at in np.argsort(-numbers, kind="stable")[:FREQUENT] if numbers[at] > 1]
    drawn = known.take(np.sort(rng(0, "report", name).choice(len(known), min(DRAWN, len(known)), replace=False)))
    stamps = [] if table is None or "created" not in table.column_names else [pc.min_max(table["created"]).as_py()]
    return Kind(
        name=name,
        words=np.where(there, words, np.nan),
        distinct=len(numbers),
        frequent={counts.field("values")[at].as_py(): int(numbers[at]) for at in order},
        vocabulary=len({word.casefold().strip(".,;:!?\"'()") for text in drawn.to_pylist() for word in text.split()}),
        drawn=len(drawn),
        same=int(pc.sum(pc.and_(pc.fill_null(pc.equal(values, source.values), False), pa.array(there))).as_py() or 0),
        models=() if table is None else tuple(text for text in table["model"].unique().to_pylist() if text),
        created=next(((str(s["min"]), str(s["max"])) for s in stamps if s["min"]), None),
        samples={row: texts[row] for row in rows if texts[row]},
    )


def captions(dataset: Dataset, found: list[Kind], thumbs: Thumbs) -> str:
    """A table of the kinds, their lengths as plots, what repeats, and samples side by side."""
    kept = [kind for kind in found if kind.have]
    if not kept:
        return absent(
            "There are no captions. Give captions_csv= to step=curate or step=captions, "
            "or write them with step=recaption."
        )
    plots = "".join(
        histogram(kind.words, dataset.seconds, Axis(name=f"Length of {kind.name}", unit="words", what="captions"))
        for kind in kept
    )
    body = f'{table(kept, len(dataset))}<div class="plots spreads">{plots}</div>'
    return body + "".join(repeated(kind) for kind in kept) + beside(dataset, kept, thumbs)


def table(kept: list[Kind], total: int) -> str:
    """A row for each kind."""
    source = next((kind for kind in kept if kind.name == SOURCE), None)
    lines = []
    for kind in kept:
        known = kind.words[np.isfinite(kind.words)]
        quarter, half, most = (int(np.quantile(known, part, method="lower")) for part in (0.05, 0.5, 0.95))
        longer = "" if source is None or source is kind else against(kind, source)
        when = (
            ""
            if kind.created is None
            else " to ".join(dict.fromkeys(stamp[:16].replace("T", " ") for stamp in kind.created))
        )
        written = " · ".join(text for text in (", ".join(kind.models[:3]), when) if text)
        lines.append(
            f'<tr><td class="name">{escape(kind.name)}</td><td class="n">{count(kind.have)}</td>'
            f'<td class="n">{percent(kind.have / total)}</td><td class="n">{quarter} · <b>{half}</b> · {most}</td>'
            f'<td class="n">{percent(kind.distinct / kind.have)}</td><td class="n">{count(kind.vocabulary)}</td>'
            f'<td class="soft">{escape(longer)}</td><td class="soft">{escape(written)}</td></tr>'
        )
    told = (
        "Words are at 5 %, half and 95 % of the captions. Distinct is the share of different captions; different words "
        f"are counted in a draw of at most {count(DRAWN)}."
    )
    return (
        f'{note(told)}<div class="scroll"><table class="listed wide"><thead><tr><th>name</th>'
        '<th class="n">captions</th><th class="n">of samples</th><th class="n">words</th><th class="n">distinct</th>'
        '<th class="n">different words</th>'
        f"<th>against source</th><th>written by</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def against(kind: Kind, source: Kind) -> str:
    """How captions differ from the source's where a sample has both."""
    both = np.isfinite(kind.words) & np.isfinite(source.words)
    if not both.any():
        return "no sample has both"
    ratio = float(np.median(kind.words[both] / np.maximum(source.words[both], 1)))
    new = int((np.isfinite(kind.words) & ~np.isfinite(source.words)).sum())
    return f"{ratio:.1f} × as long, {percent(kind.same / int(both.sum()))} equal, {many(new, 'sample')} had none"


def repeated(kind: Kind) -> str:
    """The captions that most samples share."""
    if not kind.frequent:
        return ""
    rows = {(text if len(text) <= 120 else text[:117] + "…"): (n, "") for text, n in kind.frequent.items()}
    return f"<h3>Most repeated in {escape(kind.name)}</h3>{shares(rows, total=kind.have)}"


def beside(dataset: Dataset, kept: list[Kind], thumbs: Thumbs) -> str:
    """Some samples with all of their captions."""
    rows = sorted({row for kind in kept for row in kind.samples or {}})
    lines = []
    for row in rows:
        texts = "".join(
            f"<dt>{escape(kind.name)}</dt><dd>{escape((kind.samples or {}).get(row, '–'))}</dd>" for kind in kept
        )
        tile = thumbs.tile(row) or f"<code>{escape(dataset.texts['key'][row])}</code>"
        lines.append(f'<div class="said">{tile}<dl>{texts}</dl></div>')
    facts = f"{len(rows)} drawn by chance"
    return f'<h3>Samples<small>{facts}</small></h3><div class="saids">{"".join(lines)}</div>' if lines else ""
