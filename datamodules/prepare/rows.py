"""A model runs over all samples of a dataset: read in workers, batched by size across shards, kept shard by shard.

- The model gets whole batches: a shard that is read waits for its last batches to fill up from the next ones.
- A shard is claimed before its first sample is read, so that processes share the shards of a job among them.
- A sample that cannot be read is left out, named and counted; past a share of them the step stops.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from datamodules.dataset import index
from datamodules.files import storage
from datamodules.files.shards import Shards
from datamodules.loading.guard import Guard
from datamodules.prepare import store
from dit_video import log
from dit_video.errors import ConfigError, DataError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.dataset.buckets import Buckets
    from datamodules.dataset.index import Index
    from datamodules.loading.pixels import ClipLoader

    Pixels = NDArray[np.uint8]

T = TypeVar("T")
HELD = 32  # batches of results of shards that wait for their last batches
LEAST = 100  # samples before a share of damaged ones means anything


@dataclass(kw_only=True)
class Open(Generic[T]):
    """A shard in the making: its claim, how many rows are not read yet, and what is made of the others."""

    claim: store.Claim
    left: int
    made: dict[int, T] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Stage(Generic[T]):
    """What a step does with each sample of a dataset.

    Args:
        found: the dataset's index.
        folder: the sidecar; a shard is finished where it has its table.
        what: what becomes of a sample, as "encoded".
        read: pixels of a row; in workers.
        make: results of `batch` videos of one size.
        write: keeps the results of a shard, with the reasons of rows that are damaged.
        batch: videos that `make` is given.
        workers: processes that read.
        max_bad_fraction: damaged share at which the step stops.
        guard: what a sample may cost a worker.
    """

    found: Index
    folder: Path
    what: str
    read: Callable[[int], Pixels]
    make: Callable[[list[Pixels]], Sequence[T]]
    write: Callable[[int, dict[int, T], dict[int, str]], None]
    batch: int
    workers: int
    max_bad_fraction: float = 0.01
    guard: Guard = field(default_factory=Guard)
    open: dict[int, Open[T]] = field(default_factory=dict)
    waiting: dict[tuple[int, ...], dict[int, Pixels]] = field(default_factory=dict)
    bad: int = 0
    seen: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        check(batch=self.batch, max_bad_fraction=self.max_bad_fraction)

    def run(self, todo: Mapping[int, Sequence[int]]) -> Iterator[int]:
        """Do the rows of shards, but for shards that another process makes; yields rows as they are done."""
        from datamodules.prepare.reading import Reading, Rows

        self.total = sum(map(len, todo.values()))
        ahead = max(2, -(-2 * self.batch // max(self.workers, 1)))
        source = Reading(
            rows=Rows(read=self.read, guard=self.guard), source=self.claimed(todo), workers=self.workers, ahead=ahead
        )
        try:
            for row, video in source:
                yield from self.take(row, video)
            for shape in list(self.waiting):
                yield from self.do(shape)
        finally:
            for shard in self.open.values():
                shard.claim.release()
            self.open.clear()

    def claimed(self, todo: Mapping[int, Sequence[int]]) -> Iterator[int]:
        """Rows to read, a shard after the other; at last those of shards that another process had, and left undone."""
        others = []
        for shard, rows in todo.items():
            if not (yield from self.begin(shard, rows)):
                others.append(shard)
        for shard in others:
            yield from self.begin(shard, todo[shard])

    def begin(self, shard: int, rows: Sequence[int]) -> Generator[int, None, bool]:
        """Rows of a shard, claimed before the first one; False where another process has it."""
        path = table(self.folder, shard)
        held = store.claim(path)
        if held is None:
            return False
        if path.is_file():
            held.release()
            return True
        self.open[shard] = Open(claim=held, left=len(rows))
        if not rows:
            self.close(shard)
        yield from rows
        return True

    def take(self, row: int, video: Pixels | UserError) -> Iterator[int]:
        """Put a row to the others of its size; do what has filled up, or has waited for long enough."""
        self.seen += 1
        if isinstance(video, UserError):
            self.damage(row, video)
            yield row
            return
        alike = self.waiting.setdefault(video.shape, {})
        alike[row] = video
        if len(alike) == self.batch:
            yield from self.do(video.shape)
        if not self.open:
            return
        oldest = next(iter(self.open))
        held = sum(len(shard.made) for shard in self.open.values())
        if held > HELD * self.batch and oldest != self.shard(row):
            late = [shape for shape, rows in self.waiting.items() if any(self.shard(at) == oldest for at in rows)]
            for shape in late:
                yield from self.do(shape)

    def do(self, shape: tuple[int, ...]) -> Iterator[int]:
        """Run the model over the videos of one size that wait, filled up by the last of them to a whole batch."""
        alike = self.waiting.pop(shape)
        videos = [*alike.values()]
        results = self.make(videos + videos[-1:] * (self.batch - len(videos)))
        for row, result in zip(alike, results[: len(alike)], strict=True):
            self.open[self.shard(row)].made[row] = result
            self.count(row)
            yield row

    def damage(self, row: int, error: UserError) -> None:
        """Leave a row out; the error itself where it is not the sample's, DataError where there are too many."""
        if not isinstance(error, DataError):
            raise error
        self.bad += 1
        key = self.found.key[row]
        log.get("dit_video.datamodules").warning("%s is damaged and not %s: %s", key, self.what, error)
        if self.bad > self.max_bad_fraction * max(self.total, LEAST):
            raise DataError(
                f"{self.bad} of {self.seen} samples are damaged, more than max_bad_fraction={self.max_bad_fraction:g} "
                f"of {self.total}; the last: {key}: {error}"
            )
        self.open[self.shard(row)].damaged[row] = str(error)
        self.count(row)

    def count(self, row: int) -> None:
        """A row is done; where it is its shard's last one, the shard is written."""
        shard = self.open[self.shard(row)]
        shard.left -= 1
        if not shard.left:
            self.close(self.shard(row))

    def close(self, shard: int) -> None:
        """Write a shard, and release it."""
        done = self.open.pop(shard)
        try:
            self.write(shard, {row: done.made[row] for row in sorted(done.made)}, done.damaged)
        finally:
            done.claim.release()

    def shard(self, row: int) -> int:
        """The shard of a row."""
        return int(self.found.shard[row])


def check(*, batch: int, max_bad_fraction: float) -> None:
    """ConfigError for a stage that cannot be."""
    if batch < 1 or not 0 <= max_bad_fraction <= 1:
        raise ConfigError(f"batch must be at least 1 and max_bad_fraction from 0 to 1, got {batch}, {max_bad_fraction}")


def load(dataset: str) -> Index:
    """The index of a dataset to which a sidecar is written; ConfigError where it is on no disk of this machine."""
    if not storage.is_local(dataset):
        raise ConfigError(f"dataset={dataset} must be a folder: sidecars are written beside its shards")
    return index.load(dataset)


def home(found: Index) -> Path:
    """The folder of a dataset."""
    return storage.local(found.folders[0])


def fingerprint(found: Index) -> str:
    """What a dataset is told from another by, for its sidecars."""
    return str(index.describe(found.folders[0])["fingerprint"])


def table(folder: Path, shard: int) -> Path:
    """The table of a sidecar's shard; where it stands, the shard is finished."""
    return folder / f"{shard:06d}.parquet"


def by_shard(found: Index, rows: Sequence[int]) -> dict[int, list[int]]:
    """Rows by their shard, all shards of the dataset in order."""
    shards: dict[int, list[int]] = {shard: [] for shard in range(index.shards_of(found)[0])}
    for row in rows:
        shards[int(found.shard[row])].append(row)
    return shards


def of_shard(found: Index, shard: int) -> range:
    """The rows of a shard: they stand together, in the order of shards."""
    return range(int(np.searchsorted(found.shard, shard)), int(np.searchsorted(found.shard, shard, side="right")))


def reader(found: Index, buckets: Buckets, fps: float) -> ClipLoader:
    """The reader of a dataset's pixels in the buckets of a table, at `fps`."""
    from datamodules.loading.pixels import ClipLoader, fitting

    return ClipLoader(index=found, shards=Shards(), shapes=fitting(found, buckets, fps), fps=fps, seed=0)


def about(found: Index, damaged: Mapping[int, str]) -> dict[str, str]:
    """Metadata of a sidecar's table: which dataset it is of, and why samples are left out as damaged, by their keys."""
    reasons = {found.key[row]: reason for row, reason in damaged.items()}
    return {store.FINGERPRINT: fingerprint(found)} | ({"damaged": json.dumps(reasons)} if reasons else {})


def finish(stage: Stage[Any], rows: Sequence[int], *, part: str, what: str, rest: str) -> None:
    """Do the shards of a part that are missing, and say what stands now; `rest` tells of samples not in `rows`."""
    shards = by_shard(stage.found, rows)
    standing = store.standing(stage.folder)
    todo = {shard: shards[shard] for shard in store.share(part, [*shards]) if shard not in standing}
    total = sum(map(len, todo.values()))
    log.say(
        f"{what}: {total} of {len(rows)} samples in {len(todo)} of {len(shards)} shards are to do -> {stage.folder}"
    )
    done = sum(1 for _ in log.progress(stage.run(todo), what=what, total=total, unit="clip"))
    missing = sorted(set(shards) - store.standing(stage.folder))
    log.say(f"{done - stage.bad} {stage.what} now, {stage.bad} damaged; {rest}")
    if missing:
        mine = [shard for shard in missing if shard in todo]
        whose = f"{len(mine)} of them in the hands of another process" if mine else "those of other parts"
        log.say(f"{len(missing)} of {len(shards)} shards are still missing, {whose}; training needs all of them")
        if mine:
            store.begin_again()
        return
    bad = damaged(stage.folder, shards)
    names = ", ".join([*bad][:3]) + (", ..." if len(bad) > 3 else "")
    log.say(
        f"all {len(shards)} shards stand, {len(bad)} samples damaged{f' ({names})' if bad else ''} -> {stage.folder}"
    )


def damaged(folder: Path, shards: Iterable[int]) -> dict[str, str]:
    """Why samples of a sidecar are left out as damaged, by their keys."""
    found: dict[str, str] = {}
    for shard in shards:
        found |= json.loads((store.metadata(table(folder, shard)) or {}).get("damaged", "{}"))
    return found
