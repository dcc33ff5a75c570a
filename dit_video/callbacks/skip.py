"""How often a run may leave a step out: a few in a row, and a small share of all its steps."""

from __future__ import annotations

import torch

from dit_video.errors import ConfigError, UserError


class Skips:
    """Counts the steps that a callback has left out, for a run that goes on; `key` is the callback's.

    `mend` is what may help where they are too many.
    `counts` (2,) int64, saved with the run: those in a row up to now, and all.
    """

    def __init__(self, key: str, *, in_a_row: int, share: float, mend: str = "lower optim.lr") -> None:
        if in_a_row < 0 or not 0 <= share <= 1:
            raise ConfigError(f"{key} needs in_a_row >= 0 and a share of 0 to 1, got {in_a_row} and {share:g}")
        self.key, self.in_a_row, self.share, self.mend = key, in_a_row, share, mend
        self.counts = torch.zeros(2, dtype=torch.int64)

    @property
    def total(self) -> int:
        """Steps left out since the run began."""
        return int(self.counts[1])

    def passed(self) -> None:
        """A step that is learnt from ends a row."""
        self.counts[0] = 0

    def add(self, step: int, *, what: str) -> None:
        """Count step number `step`, from 1; UserError, which begins with `what`, where that is one too many."""
        self.counts += 1
        row, total = (int(count) for count in self.counts)
        if row > self.in_a_row:
            raise UserError(f"{what}, in {row} steps in a row ({self.key}.in_a_row={self.in_a_row}); {self.mend}")
        if total > max(self.share * step, self.in_a_row):
            raise UserError(f"{what}, as in {total} of {step} steps ({self.key}.share={self.share:g}); {self.mend}")
