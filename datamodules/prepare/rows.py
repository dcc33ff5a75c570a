"""Clips of a dataset in pixels, for stages that run a model over all of them: decoded in workers, batched by size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.utils.data import DataLoader, Dataset

from datamodules.pixels import ClipLoader, fitting
from datamodules.shards import Shards
from dit_video import log
from dit_video.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datamodules.buckets import Buckets
    from datamodules.index import Index


@dataclass(frozen=True, kw_only=True)
class Rows(Dataset):
    """Pixels of rows of an index by number: uint8 (t, h, w, 3), or why they cannot be had."""

    loader: ClipLoader

    def __getitem__(self, row: int) -> tuple[int, NDArray[np.uint8] | str]:
        try:
            return row, self.loader.pixels(row)
        except DataError as error:
            return row, str(error)


def reader(found: Index, table: Buckets, fps: float) -> ClipLoader:
    """The reader of a dataset's pixels in the buckets of a table, at `fps`."""
    shards = Shards()
    return ClipLoader(index=found, shards=shards, shapes=fitting(found, table, fps), fps=fps, seed=0)


def alike(
    loader: ClipLoader, rows: Sequence[int], *, batch: int, workers: int, what: str
) -> Iterator[dict[int, NDArray[np.uint8]]]:
    """Pixels by row, `batch` clips of equal shape at a time as they fill up.

    Rows that cannot be read are left out; a warning says `what` was not done, and why.
    """
    source = DataLoader(
        Rows(loader=loader), batch_size=None, sampler=rows, num_workers=workers, collate_fn=lambda item: item
    )
    waiting: dict[tuple[int, ...], dict[int, NDArray[np.uint8]]] = {}
    for row, video in source:
        if isinstance(video, str):
            log.get("dit_video.datamodules").warning("not %s: %s", what, video)
            continue
        same = waiting.setdefault(video.shape, {})
        same[row] = video
        if len(same) == batch:
            yield waiting.pop(video.shape)
    yield from waiting.values()
