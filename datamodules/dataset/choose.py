"""Which samples of an index take part in training, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.dataset import index
from datamodules.dataset.filter import keep
from dit_video import log

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.dataset.index import Index

HELD_OUT = "held out for validation"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """`rows` take part, `held` are kept for validation; `reason` (n,) is a place in `reasons`, -1 for `rows`."""

    rows: NDArray[np.int64]
    held: NDArray[np.int64]
    reason: NDArray[np.int64]
    reasons: tuple[str, ...]

    @property
    def dropped(self) -> dict[str, int]:
        """How many rows do not take part, by reason."""
        counts = np.bincount(self.reason + 1, minlength=len(self.reasons) + 1)[1:]
        return {name: int(count) for name, count in zip(self.reasons, counts, strict=True) if count}

    def why(self, row: int) -> str:
        """Why a row does not take part; "" where it does."""
        code = int(self.reason[row])
        return "" if code < 0 else self.reasons[code]


def choose(
    found: Index, unfit: Mapping[str, NDArray[np.bool_]], *, bounds: Mapping[str, Any], validation: float
) -> Chosen:
    """Leave out what is unfit for a reason, what `bounds` filter, and what is held out; the first reason counts."""
    masks = dict(unfit)
    if bounds:
        kept = keep(found, bounds)
        masks |= {f"filtered: {reason}": mask for reason, mask in kept.out.items()}
    masks[HELD_OUT] = index.held_out(found, validation)
    reason = np.full(len(found), -1, np.int64)
    for code, mask in enumerate(masks.values()):
        reason[(reason < 0) & mask] = code
    held = len(masks) - 1
    return Chosen(
        rows=np.flatnonzero(reason < 0),
        held=np.flatnonzero(reason == held),
        reason=reason,
        reasons=tuple(masks),
    )


def announce(chosen: Chosen) -> None:
    """Say how many samples there are to train on, and why others are not."""
    parts = [f"{count} {why}" for why, count in chosen.dropped.items()]
    text = f"{len(chosen.rows)} of {len(chosen.reason)} samples to train on"
    log.get("dit_video.datamodules").info("%s", text + (f" ({', '.join(parts)})" if parts else ""))
