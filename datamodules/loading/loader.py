"""The loader: planned micro-batches become batches in worker processes; bad samples are counted, and too many stop.

- What a decoder in C may do to its process ends that process alone (guard.py). The samples that were out are then tried
  one by one in processes of their own; those that end theirs too are bad samples, and new processes take up the rest.
- Workers send pixels as bytes and latents as they are stored; they become float32 on the device.
- Small tensors go through the pipe as arrays: a file descriptor for each costs more than copying a megabyte.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Protocol, Self

from datamodules.loading.guard import Guard, culprits, ending
from datamodules.order.steps import Micro
from dit_video import log
from dit_video.errors import DataError, UserError

if TYPE_CHECKING:
    import torch

LEAST_SEEN = 1000  # samples before a share of bad ones means anything
TICK = 5.0  # seconds between two looks at silent workers
SILENT = 30.0  # seconds after which they are reported
GIVEN_UP = 1800.0  # seconds after which they are started again
DEATHS = 3  # of workers, without a sample to blame and without a batch in between, that end a run
ENDED = "DataLoader worker (pid"  # in what torch raises of a process that has ended, not of what one has raised
PARENT_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)
IN_BAND = 2**20  # bytes of a tensor that goes through the pipe


@dataclass(frozen=True)
class Loaded:
    """A batch, and the (key, reason) of each of its samples that could not be read."""

    batch: Any
    bad: tuple[tuple[str, str], ...]
    samples: int


class Loader(Protocol):
    """What makes the batches: `loader[micro]` in a worker, `finish` of its batch on the device."""

    @property
    def guard(self) -> Guard:
        """What a sample may cost."""
        ...

    def __getitem__(self, micro: Micro) -> Loaded:
        """The batch of a micro-batch, as small as it can be sent."""
        ...

    def finish(self, batch: Any) -> Any:
        """The batch as tasks take it."""
        ...

    def without(self, refused: Mapping[int, str]) -> Self:
        """The same, but for which the rows `refused` are damaged, for the reasons given."""
        ...


class Batches:
    """Micro-batches of a loader, with bad samples logged and counted; past `max_bad_fraction` the run stops.

    `waited` counts the seconds for which the training waited for data.
    """

    def __init__(
        self,
        loader: Loader,
        micros: Iterable[Micro],
        *,
        workers: int,
        max_bad_fraction: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.loader, self.micros, self.device = loader, micros, device
        self.workers, self.max_bad_fraction = workers, max_bad_fraction
        self.bad = self.seen = 0
        self.waited = 0.0

    def __iter__(self) -> Iterator[Any]:
        if self.workers:
            source = Fleet(loader=self.loader, micros=iter(self.micros), workers=self.workers).batches()
        else:
            source = (self.loader[micro] for micro in self.micros)
        while True:
            since = time.perf_counter()
            loaded = next(source, None)
            if loaded is None:
                return
            self.count(loaded)
            batch = self.loader.finish(loaded.batch.to(self.device, non_blocking=True))
            self.waited += time.perf_counter() - since
            yield batch

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


class DiedError(Exception):
    """A worker has ended, or been silent for too long."""


@dataclass
class Fleet:
    """Worker processes over the micro-batches to come; `out` are those that they have been given."""

    loader: Loader
    micros: Iterator[Micro]
    workers: int
    out: deque[Micro] = field(default_factory=deque)
    deaths: int = 0

    def batches(self) -> Iterator[Loaded]:
        """The batch of every micro-batch in order, whatever becomes of the processes."""
        while True:
            try:
                yield from self.crew()
            except DiedError as error:
                self.recover(str(error))
            else:
                return

    def crew(self) -> Iterator[Loaded]:
        """Batches from one set of processes, until it ends."""
        from torch.utils.data import DataLoader
        from torch.utils.data._utils.signal_handling import _remove_worker_pids

        found = iter(
            DataLoader(
                Answers(self.loader),  # type: ignore[arg-type]
                batch_size=None,
                sampler=self.given(),  # type: ignore[arg-type]
                num_workers=self.workers,
                collate_fn=same,
                worker_init_fn=partial(enter, guard=self.loader.guard),
                timeout=TICK,
            )
        )
        _remove_worker_pids(id(found))  # else torch would raise of an ended one in the midst of whatever is being done
        found._worker_pids_set = False  # type: ignore[attr-defined]
        watch(found)
        try:
            while (loaded := self.awaited(found)) is not None:
                self.out.popleft()
                self.deaths = 0
                yield loaded
        finally:
            for process in found._workers:  # type: ignore[attr-defined]
                process.kill()  # one that is stopped, or sits in C, ends in no other way

    def given(self) -> Iterator[Micro]:
        """What the processes are given: first what others have left undone."""
        yield from list(self.out)
        for micro in self.micros:
            self.out.append(micro)
            yield micro

    def awaited(self, found: Iterator[Any]) -> Loaded | None:
        """The next batch, None at the end; DiedError where it will not come."""
        silent = 0.0
        while True:
            try:
                answer = next(found, None)
            except RuntimeError as error:
                if "DataLoader timed out" in str(error):
                    silent += TICK
                    self.report(silent)
                    continue
                if ENDED in str(error):
                    raise DiedError("a loader process has ended") from error
                raise
            if isinstance(answer, UserError):
                raise answer
            return answer

    def report(self, silent: float) -> None:
        """Say that the workers are silent; DiedError when they have been for very long."""
        if silent >= GIVEN_UP:
            raise DiedError(f"no loader process has answered for {silent:.0f} seconds")
        if silent % SILENT == 0:
            text = "waiting for data: step %d has taken %.0f s so far"
            log.get("dit_video.datamodules").warning(text, self.out[0].place.step, silent)

    def recover(self, what: str) -> None:
        """Find the samples that end their process; DataError where there are none, again and again."""
        self.deaths += 1
        work: dict[int, Callable[[], Any]] = {}
        for micro in self.out:
            work |= {row: partial(self.loader.__getitem__, one) for row, one in singles(micro)}
        log.get("dit_video.datamodules").warning("%s; trying %d samples one by one", what, len(work))
        found = culprits(work, self.loader.guard)
        if not found and self.deaths >= DEATHS:
            raise DataError(
                f"loader processes ended {self.deaths} times at step {self.out[0].place.step}, of no sample's fault; "
                "there may be too little memory: lower datamodules.workers"
            )
        self.loader = self.loader.without(found)


def singles(micro: Micro) -> Iterator[tuple[int, Micro]]:
    """A micro-batch of each sample alone, by its row."""
    for pack in micro.packs:
        for item in pack.items:
            yield item.row, replace(micro, packs=(replace(pack, items=(item,)),), captions=("",))


class Answers:
    """A loader in a worker: a user's mistake comes back as an answer, and stays one line."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __getitem__(self, micro: Micro) -> Loaded | UserError:
        try:
            with ending():
                return self.loader[micro]
        except UserError as error:
            return error


def watch(found: Any) -> None:
    """End all workers of a DataLoader's iterator, and the pipe they answer through, as soon as one of them has ended.

    One that ends while it sends leaves half an answer. The others keep the pipe open: the rest would be waited for,
    for ever.
    """

    processes, pipe = [*found._workers], found._worker_result_queue._writer

    def look() -> None:
        wait([process.sentinel for process in processes])
        for process in processes:
            process.kill()
            process.join()
        pipe.close()  # only now, so that who reads the end of it finds them ended

    threading.Thread(target=look, name="watch", daemon=True).start()


def same(item: Any) -> Any:
    """Items are whole micro-batches already."""
    return item


def enter(worker: int, *, guard: Guard) -> None:  # noqa: ARG001 the first argument is the DataLoader's
    """Workers are processes already: OpenCV starts no threads in them, and a signal to stop is for the run to heed."""
    import cv2
    import torch

    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":  # else one that waits to send a batch outlives a run that is killed
        ctypes.CDLL(None).prctl(PARENT_DEATH, signal.SIGKILL)
    ForkingPickler.register(torch.Tensor, reduced)
    guard.enter()


def reduced(tensor: torch.Tensor) -> tuple[Any, ...]:
    """How a worker sends a tensor: small ones by value, large ones in shared memory."""
    import torch
    from torch.multiprocessing.reductions import reduce_tensor

    if tensor.nbytes <= IN_BAND and tensor.dtype != torch.bfloat16:
        return torch.from_numpy, (tensor.numpy(),)
    return reduce_tensor(tensor)
