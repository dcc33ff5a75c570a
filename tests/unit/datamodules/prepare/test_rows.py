from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from datamodules import index
from datamodules.buckets import listed
from datamodules.prepare.rows import alike, reader

TABLE = listed(["17x32x48", "17x48x32", "9x32x32", "1x32x48"], time=4, multiple=8)


@pytest.mark.parametrize("workers", [0, 1])
def test_every_row_comes_once_with_its_own_pixels_in_batches_of_one_size(finished: Path, workers: int) -> None:
    loader = reader(index.load(finished), TABLE, 12.0)
    rows = [row for row, shape in enumerate(loader.shapes) if shape is not None]
    batches = list(alike(loader, rows, batch=3, workers=workers, what="read"))
    assert sorted(row for same in batches for row in same) == rows
    assert {len({video.shape for video in same.values()}) for same in batches} == {1}
    assert max(map(len, batches)) == 3
    for same in batches:
        for row, video in same.items():
            assert np.array_equal(video, loader.pixels(row))


def test_a_damaged_row_is_left_out_with_a_warning(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = index.load(dataset)
    path = dataset / "clips" / f"{found.shard[0]:06d}.tar"
    content = bytearray(path.read_bytes())
    content[int(found.offset[0]) + 50] ^= 255
    path.write_bytes(bytes(content))
    logging.getLogger("dit_video").propagate = True
    batches = alike(reader(found, TABLE, 12.0), [0, 1, 2], batch=3, workers=0, what="encoded")
    assert sorted(row for same in batches for row in same) == [1, 2]
    assert "not encoded" in caplog.text
