"""What curate refused, by reason, with pictures of it where it kept any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from datamodules.report.figures import count, many, span
from datamodules.report.thumbs import sheet
from dit_video.page.document import absent, note

if TYPE_CHECKING:
    from datamodules.report.tables import Dataset, Refused
    from datamodules.report.thumbs import Thumbs

PICTURES = 8  # of a reason
SEARCHED = 64  # rows of a reason whose pictures are looked for
REASONS = 24  # listed on their own
EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why rows of the quarantine were refused, in the words that they share."""

    text: str
    rows: tuple[int, ...]


def outline(reason: str, source: str) -> str:
    """What a reason is about: what stands before its colon, or all of it without the path and numbers of the file."""
    text = " ".join(reason.split())
    if source and text.startswith(source):
        text = re.sub(r"(?<![\w=.])\d+(?:\.\d+)?(?:x\d+)?(?!\w)", "…", text.removeprefix(source)).strip(" :")
    return text.split(":")[0] or "no reason given"


def reasons(found: Refused) -> list[Reason]:
    """The reasons, the most frequent first."""
    groups: dict[str, list[int]] = {}
    for row, (reason, source) in enumerate(zip(found.reason, found.source, strict=True)):
        groups.setdefault(outline(reason, source), []).append(row)
    listed = [Reason(text=text, rows=tuple(rows)) for text, rows in groups.items()]
    return sorted(listed, key=lambda group: (-len(group.rows), group.text))


def dropped(dataset: Dataset, thumbs: Thumbs) -> str:
    """A table of the reasons, each with examples, then a sheet of pictures for each that has any."""
    found = dataset.refused
    if not len(found):
        return absent("Nothing was refused: every file of the source gave at least one sample.")
    groups = reasons(found)
    most = len(groups[0].rows)
    lines = [line(group, found, most=most) for group in groups[:REASONS]]
    rest = groups[REASONS:]
    more = (
        many(len(rest), "rarer reason") + f" for {count(sum(len(group.rows) for group in rest))} more" if rest else ""
    )
    table = (
        '<div class="scroll"><table class="listed wide"><thead><tr><th>reason</th><th class="n">refused</th>'
        '<th class="track"></th><th class="n">footage</th><th>for example</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
    sheets = [sheet_of(group, found, thumbs) for group in groups[:REASONS]]
    told = "Whole files, and stretches of files where a time is given. quarantine/*.parquet lists all of them."
    return note(told) + table + (note(more) if more else "") + "".join(sheets)


def line(group: Reason, found: Refused, *, most: int) -> str:
    """A row of the table."""
    rows = np.asarray(group.rows)
    seconds = float(np.nansum(found.seconds[rows]))
    names = "".join(f"<span>{escape(example(found, row))}</span>" for row in group.rows[:EXAMPLES])
    return (
        f'<tr><td class="reason">{escape(group.text)}</td><td class="n">{count(len(rows))}</td>'
        f'<td class="track"><div class="bar drop" style="--p:{len(rows) / most:.4f}"></div></td>'
        f'<td class="n soft">{span(seconds) if seconds else "–"}</td><td class="soft names">{names}</td></tr>'
    )


def where(found: Refused, row: int) -> str:
    """The source of a row, and the time in it where it is a stretch."""
    start, seconds = float(found.start[row]), float(found.seconds[row])
    if np.isfinite(start) and np.isfinite(seconds):
        return f"{found.source[row]} · {start:.1f}–{start + seconds:.1f} s"
    return found.source[row]


def example(found: Refused, row: int) -> str:
    """The source of a row, and what its reason says beyond the class."""
    detail = found.reason[row].partition(": ")[2]
    return f"{where(found, row)} ({detail})" if detail else where(found, row)


def sheet_of(group: Reason, found: Refused, thumbs: Thumbs) -> str:
    """Pictures of what was refused for a reason; "" where none were kept."""
    pictures = found.pictures(spread(group.rows, SEARCHED))
    tiles = [
        thumbs.picture(
            pictures[row], escape(short_name(where(found, row))), about=[where(found, row), found.reason[row]]
        )
        for row in spread(tuple(pictures), PICTURES)
    ]
    whole = sheet(tiles)
    return f"<h3>{escape(group.text)}<small>{shown(len(tiles), len(group.rows))}</small></h3>{whole}" if whole else ""


def shown(tiles: int, rows: int) -> str:
    """How many of how many are shown."""
    return f"all {rows}" if tiles == rows else f"{tiles} of {count(rows)}"


def short_name(text: str) -> str:
    """The end of a path."""
    return text.rsplit("/", 1)[-1]


def spread(rows: Sequence[int], most: int) -> list[int]:
    """At most so many of the rows, evenly over them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[int(at)] for at in np.linspace(0, len(rows) - 1, most).round()]
