from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.dataset import index
from datamodules.dataset.choose import HELD_OUT, choose


def test_every_row_takes_part_or_has_one_reason(finished: Path) -> None:
    found = index.load(finished)
    short = found.frames < 15
    made = choose(found, {"short": short, "images": found.image}, bounds={"width": [None, 40]}, validation=0.3)
    parts = [made.rows, *(np.flatnonzero(made.reason == code) for code in range(len(made.reasons)))]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(found)))
    assert {made.why(int(row)) for row in made.rows} == {""}
    assert made.dropped["short"] == int(short.sum())
    assert "images" not in made.dropped  # an image is short already: the first reason counts
    assert set(found.width[made.rows]) == {32}
    assert len(made.held) == made.dropped[HELD_OUT] > 0
    assert {made.why(int(row)) for row in np.flatnonzero((found.width == 48) & ~short)} == {"filtered: width > 40"}
