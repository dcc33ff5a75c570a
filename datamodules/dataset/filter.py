"""Which samples take part, by thresholds on their scores: chosen at training time, so a change of mind costs nothing.

- `datamodules.filter.motion=[0.02,null]` keeps clips with motion of at least 0.02; both ends belong to what is kept.
- A score is a column of the index (`motion`, `sharpness`, and what every sample has: frames, height, width, fps,
  seconds) or of a sidecar scores/NAME (`duplicates.copy`).
- A sample whose score is unknown passes: an image has no motion, and a sidecar may know less than all. How many pass
  unknown is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.dataset import index, sidecars
from datamodules.files import storage
from dit_video import config, log
from dit_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.dataset.index import Index

    Scores = NDArray[np.float64]

KEY = "datamodules.filter"
FIRST = "000000.parquet"
BASIC = ("frames", "height", "width", "fps", "seconds")
PLACES = ("shard", "start_seconds", "media_offset", "media_size", "json_offset", "json_size")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """`rows` (n,) that are kept; `out` has by reason (n,) what is dropped for it first, `unknown` counts by score."""

    rows: NDArray[np.bool_]
    out: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)

    @property
    def dropped(self) -> dict[str, int]:
        """How many are dropped, by their first reason."""
        return {reason: int(mask.sum()) for reason, mask in self.out.items()}


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A score and the least and greatest value that are kept; None is open."""

    name: str
    low: float | None
    high: float | None

    def outside(self, values: Scores) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """What is dropped at each closed end, with the reason; NaN is not."""
        if self.low is not None:
            yield f"{self.name} < {self.low:g}", values < self.low
        if self.high is not None:
            yield f"{self.name} > {self.high:g}", values > self.high


def keep(found: Index, bounds: Mapping[str, Any]) -> Kept:
    """Hold every sample against the bounds; ConfigError for a wrong one, DataError where none is left.

    Args:
        found: the index of one or several datasets.
        bounds: [low, high] by score, sidecars nested: {"motion": [0.02, None], "duplicates": {"copy": [None, 0]}}.
    """
    rows = np.ones(len(found), np.bool_)
    dropped: dict[str, NDArray[np.bool_]] = {}
    unknown: dict[str, NDArray[np.bool_]] = {}
    for bound in read(bounds):
        values = score(found, bound.name)
        unknown[bound.name] = np.isnan(values)
        if unknown[bound.name].all():
            raise DataError(f"{KEY}.{bound.name} is unknown for every sample; leave it out, or make that score again")
        for reason, out in bound.outside(values):
            dropped[reason] = rows & out
            rows &= ~out
    passed = {name: int((rows & missing).sum()) for name, missing in unknown.items()}
    for name, count in passed.items():
        if count:
            log.get("dit_video.datamodules").info("%s.%s: %d samples pass whose score is unknown", KEY, name, count)
    kept = Kept(rows=rows, out=dropped, unknown=passed)
    if not rows.any():
        reasons = ", ".join(f"{count} with {reason}" for reason, count in kept.dropped.items() if count)
        raise DataError(f"{KEY} leaves none of {len(rows)} samples: {reasons}; widen it")
    return kept


def score_tables(bounds: Mapping[str, Any]) -> list[str]:
    """The folders of a dataset whose tables the bounds go by: `index`, `scores/NAME`."""
    kinds = {bound.name.rpartition(".")[0] for bound in read(bounds) if bound.name not in BASIC}
    return sorted(f"scores/{kind}" if kind else "index" for kind in kinds)


def read(bounds: Mapping[str, Any], within: str = "") -> Iterator[Bound]:
    """The bounds of a nested mapping, in its order; ConfigError for one of another form."""
    for key, value in bounds.items():
        name = f"{within}{key}"
        if isinstance(value, Mapping):
            yield from read(value, f"{name}.")
            continue
        ends = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
        if len(ends) != 2 or not all(is_end(end) for end in ends):
            raise ConfigError(f"{KEY}.{name} must be [low,high], null for an open end, got {config.show(value)}")
        low, high = ends
        if low is not None and high is not None and low > high:
            raise ConfigError(f"{KEY}.{name}=[{low},{high}] keeps nothing; the lower end comes first")
        yield Bound(name=name, low=low, high=high)


def is_end(value: object) -> bool:
    """Whether a value can end an interval: a number that is one, or None for open."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value == value)  # noqa: PLR0124


def score(found: Index, name: str) -> Scores:
    """A score by row, NaN where unknown; ConfigError with the nearest and all known ones where there is none."""
    if name in BASIC:
        return np.asarray(getattr(found, name), np.float64)
    kind = name.rpartition(".")[0]
    choices = known(found, kind)
    if name not in choices:
        near = config.nearest(name, choices)
        lacking = kind and not any(choice.startswith(f"{kind}.") for choice in choices)
        if lacking and (kind == "duplicates" or near.startswith("there is")):
            step = "step=duplicates" if kind == "duplicates" else f"step=score name={kind}"
            raise ConfigError(
                f"{KEY}.{name}: there is no scores/{kind}; make it with: "
                f"python -m datamodules.prepare {step} dataset={found.folders[0]}"
            )
        listed = near if near.startswith("there is") else f"{near} There are {', '.join(choices)}"
        raise ConfigError(f"{KEY}.{name} is not a score; {listed}")
    return sidecars.load_score(found, name)


def known(found: Index, asked: str = "") -> list[str]:
    """Scores that a filter can name: of the index, of the sidecars in local folders, and of the sidecar `asked` for."""
    names = dict.fromkeys(BASIC)
    for folder in found.folders:
        home = storage.join(folder, "scores")
        kinds = [path.name for path in sorted(storage.local(home).glob("*/"))] if storage.is_local(home) else [asked]
        names |= dict.fromkeys(numbers(storage.join(folder, "index", FIRST)))
        for kind in filter(None, kinds):
            names |= {f"{kind}.{name}": None for name in numbers(storage.join(home, kind, FIRST))}
    return list(names)


def numbers(path: str) -> list[str]:
    """Names of the numeric columns of a table that are scores; none where there is no table."""
    from pyarrow import types

    fields = index.table(path).schema if storage.exists(path) else ()
    numeric = [field.name for field in fields if types.is_floating(field.type) or types.is_integer(field.type)]
    return [name for name in numeric if name not in PLACES]
