"""Datasets for the report: columns in memory, and a reader that holds a page's tags against each other."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np

from datamodules.dataset.columns import Texts
from datamodules.report import figures
from datamodules.report.tables import NUMBERS, TEXTS, Dataset, Refused

VOID = {"meta", "link", "img", "br", "path", "line", "circle", "rect", "input"}


def dataset_of(
    *,
    texts: dict[str, Sequence[str]] | None = None,
    scores: dict[str, Any] | None = None,
    refused: Sequence[tuple[str, str, float]] = (),
    **numbers: Any,
) -> Dataset:
    """A dataset of these columns, others empty; `refused` are (source, reason, start)."""
    n = len(next(iter({**numbers, **(scores or {}), **(texts or {})}.values())))
    given = {name: np.asarray(values, dtype=np.float64) for name, values in numbers.items()}
    frames = given.get("frames", np.full(n, 10.0))
    kinds = ["image" if count == 1 else "video" for count in frames]
    plain = {name: [f"{name} {row}" for row in range(n)] for name in TEXTS} | {"kind": kinds}
    return Dataset(
        folder="absent",
        about={"shards": 1, "samples": n, "fingerprint": "f" * 64},
        texts={name: Texts(values) for name, values in (plain | (texts or {})).items()},
        numbers={name: np.full(n, np.nan) for name in NUMBERS} | {"shard": np.zeros(n)} | given,
        scores={name: np.asarray(values, dtype=np.float64) for name, values in (scores or {}).items()},
        refused=Refused(
            folder="absent",
            source=[source for source, _, _ in refused],
            reason=[reason for _, reason, _ in refused],
            seconds=np.ones(len(refused)),
            start=np.asarray([start for _, _, start in refused]),
            shard=np.zeros(len(refused), dtype=np.int64),
            place=np.arange(len(refused)),
        ),
    )


def plain(text: str) -> str:
    """A text with common spaces alone."""
    return text.replace(figures.GAP, " ")


class Reader(HTMLParser):
    """Counts elements, keeps what they load and say, and holds every closing tag against what is open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.parts: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "poster", "data", "srcset"}]
        self.anchors |= {value or "" for name, value in attrs if name == "id"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        """All text of the page, style and script among it."""
        return plain("".join(self.parts))
