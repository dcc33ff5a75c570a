"""Which caption a sample gets, and whether it is dropped: keyed by (seed, stream, ordinal), as all about a sample."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from datamodules.dataset.columns import Texts
from datamodules.dataset.index import Index
from datamodules.dataset.sidecars import load_captions
from dit_video.errors import ConfigError
from dit_video.seeds import level

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Captions:
    """Captions by name in the rows of an index, the weight of each name, and the probability of none at all."""

    texts: dict[str, Texts]
    weights: dict[str, float]
    dropout: float
    seed: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which samples have any of the captions."""
        return np.any([self.texts[name].known for name in self.weights], axis=0)

    def choose(self, row: int, *, stream: int, ordinal: int) -> str:
        """The caption of a sample at its place, "" where dropped. Names it lacks are left out of the draw."""
        if self.dropout > 0 and level(self.seed, "dropout", stream, ordinal) < self.dropout:
            return ""
        return self.pick(row, level=level(self.seed, "caption", stream, ordinal))

    def pick(self, row: int, *, level: float) -> str:
        """The caption that a uniform `level` falls on."""
        found = {name: text for name in self.weights if (text := self.texts[name][row]) is not None}
        if not found:
            return ""
        return str([*found.values()][weighted([self.weights[name] for name in found], level)])

    def learnable(self, rows: NDArray[np.int64]) -> list[str]:
        """All captions of some rows: what a vocabulary is learned from."""
        return [text for named in self.texts.values() for text in named.take(rows).to_list() if text]


def caption_tables(weights: Mapping[str, float]) -> list[str]:
    """The folders of a dataset that hold the captions with a weight; those of the source are in the index."""
    return sorted(f"captions/{name}" for name, weight in weights.items() if weight and name != "source")


def captions(index: Index, *, weights: Mapping[str, float], dropout: float, seed: int) -> Captions:
    """Load the captions that have a weight; ConfigError for weights or a dropout that make no sense."""
    used = {name: float(weight) for name, weight in weights.items() if weight}
    if not used or min(used.values()) < 0 or not 0 <= dropout <= 1:
        raise ConfigError("datamodules.captions needs weights above 0 by name, and datamodules.dropout must be in 0..1")
    texts = {name: load_captions(index, name) for name in used}
    return Captions(texts=texts, weights=used, dropout=dropout, seed=seed)


def weighted(weights: Sequence[float], level: float) -> int:
    """Which of the weighted choices a uniform `level` falls on."""
    total = [*accumulate(weights)]
    return min(bisect_right(total, level * total[-1]), len(weights) - 1)
