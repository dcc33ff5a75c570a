"""The loader: planned micro-batches become batches in worker processes; bad samples are counted, and too many stop."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datamodules.steps import Micro
from dit_video import log
from dit_video.errors import DataError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

LEAST_SEEN = 1000  # samples before a share of bad ones means anything


@dataclass(frozen=True)
class Loaded:
    """A batch, and the (key, reason) of each of its samples that could not be read."""

    batch: Any
    bad: tuple[tuple[str, str], ...]
    samples: int


class Batches:
    """Micro-batches of a loader, with bad samples logged and counted; past `max_bad_fraction` the run stops."""

    def __init__(self, dataset: Dataset, micros: Iterable[Micro], *, workers: int, max_bad_fraction: float) -> None:
        self.dataset, self.micros = dataset, micros
        self.workers, self.max_bad_fraction = workers, max_bad_fraction
        self.bad = self.seen = 0

    def __iter__(self) -> Iterator[Any]:
        from torch.utils.data import DataLoader

        loader = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=self.micros,
            num_workers=self.workers,
            collate_fn=same,
            worker_init_fn=quiet,
        )
        for loaded in loader:
            self.count(loaded)
            yield loaded.batch

    def count(self, loaded: Loaded) -> None:
        """Count bad samples; DataError where there are too many."""
        self.seen += loaded.samples
        self.bad += len(loaded.bad)
        for key, reason in loaded.bad:
            log.get("dit_video.datamodules").warning("sample %s is damaged and gets weight 0: %s", key, reason)
        if self.bad > self.max_bad_fraction * max(self.seen, LEAST_SEEN):
            raise DataError(
                f"{self.bad} of {self.seen} samples are damaged, more than datamodules.max_bad_fraction="
                f"{self.max_bad_fraction:g}; curate the dataset again"
            )


def same(item: Any) -> Any:
    """Items are whole micro-batches already."""
    return item


def quiet(worker: int) -> None:  # noqa: ARG001 the signature is the loader's
    """Workers are processes already: OpenCV starts no threads in them, and a signal to stop is for the run to heed."""
    import cv2

    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
