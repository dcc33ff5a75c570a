"""Clips in pixels, for the VAE and the recaptioner: batches of one bucket, in the order of order/streams.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import LightningDataModule

from datamodules.dataset import captions, index
from datamodules.dataset.buckets import buckets
from datamodules.dataset.captions import caption_tables
from datamodules.dataset.choose import Chosen, announce, choose
from datamodules.dataset.filter import score_tables
from datamodules.dataset.index import Index
from datamodules.files.shards import Shards
from datamodules.loading.loader import Batches
from datamodules.loading.pixels import ClipLoader, fitting
from datamodules.order.held import in_order
from datamodules.order.packs import Group, Item, Items, Pack, items
from datamodules.order.plan import Micros, Plan, planned
from datamodules.order.steps import Micro, micros
from dit_video.batch import ClipBatch, Place
from dit_video.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dit_video.shapes import VideoShape


class ClipData(LightningDataModule):
    """Batches of equal-sized clips.

    Args:
        dataset: folder or URL of a curated dataset; or several with how often an epoch has each sample of them:
            {DIR: 1, OTHER: 0.5}.
        sizes: buckets as FRAMESxHEIGHTxWIDTH; by default they are generated from `pixels` and `frames`.
        pixels: most pixels of a frame.
        frames: most frames of a clip.
        time: frames are 1 + k * time: the VAE's compression in time.
        multiple: height and width are multiples of it: the VAE's compression in space, times the patch.
        fps: frames per second that clips are brought to.
        batch: clips of a micro-batch, all of one bucket.
        packs: micro-batches of an optimizer step, over all ranks.
        streams: most canonical streams; divides `packs`, and is at most the number of shards.
        mix: shards of a stream that are shuffled together.
        window: steps over which micro-batches are regrouped by cost.
        captions: weight of each caption by name; `source` is the one that came with the clip.
        dropout: probability of an empty caption.
        validation: fraction of clips held out (and the last of each source with several); 0 for none.
        images: whether still images take part.
        filter: thresholds by score, [low, high] with null for open: {motion: [0.02, null]}.
        max_bad_fraction: damaged share at which the run stops.
        cache: folder in which members of remote shards are kept; null for none.
        cache_gb: most that it may hold, in 10^9 bytes.
        patience: seconds for which storage that does not answer is asked again, before the run stops.
        workers: loader processes; any number gives the same batches.
        seed: key of the order.
    """

    def __init__(
        self,
        *,
        dataset: str | Mapping[str, float],
        sizes: Sequence[str] | None = None,
        pixels: int = 128 * 128,
        frames: int = 17,
        time: int = 4,
        multiple: int = 16,
        fps: float = 12.0,
        batch: int = 8,
        packs: int = 1,
        streams: int = 64,
        mix: int = 4,
        window: int = 32,
        captions: Mapping[str, float] | None = None,
        dropout: float = 0.0,
        validation: float = 0.02,
        images: bool = True,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 the key is datamodules.filter
        max_bad_fraction: float = 0.01,
        cache: str | None = None,
        cache_gb: float = 20.0,
        patience: float = 300.0,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.fps, self.batch, self.packs = float(fps), batch, packs
        self.datasets = index.weights_of(dataset)
        self.table = buckets(sizes=sizes, pixels=pixels, frames=frames, time=time, multiple=multiple)
        self.streams, self.mix, self.window, self.seed = streams, mix, window, seed
        self.weights, self.dropout = dict(captions or {"source": 1.0}), dropout
        self.held, self.images, self.bounds = validation, images, dict(filter or {})
        self.max_bad_fraction, self.workers = max_bad_fraction, workers
        self.shards = Shards(cache=cache, cache_gb=cache_gb, patience=patience)
        by = [*caption_tables(self.weights), *score_tables(self.bounds)]
        self.fingerprint = index.marked(index.fingerprint_of(self.datasets), self.datasets, by)
        self.begin(0, 0, 0, 1)

    def begin(self, step: int, samples: int, rank: int, ranks: int) -> None:
        """Start at `step` of a run of `samples` samples, as rank `rank` of `ranks`; sets `micros`."""
        self.micros = micros(packs=self.packs, micro=1, ranks=ranks)
        self.started = (step, samples, rank, ranks)

    @cached_property
    def index(self) -> Index:
        """The dataset's index."""
        return index.load(self.datasets)

    @cached_property
    def loader(self) -> ClipLoader:
        """What makes batches, in this process or a worker."""
        shapes = fitting(self.index, self.table, self.fps)
        return ClipLoader(index=self.index, shards=self.shards, shapes=shapes, fps=self.fps, seed=self.seed)

    @cached_property
    def captions(self) -> captions.Captions:
        """The captions by name."""
        return captions.captions(self.index, weights=self.weights, dropout=self.dropout, seed=self.seed)

    @cached_property
    def chosen(self) -> Chosen:
        """The rows of training and those held out: with a bucket and one of the captions, and within the filter."""
        unfit = {
            "too short for every bucket": np.asarray([shape is None for shape in self.loader.shapes]),
            "without a caption": ~self.captions.known,
            "images": self.index.image & (not self.images),
        }
        return choose(self.index, unfit, bounds=self.bounds, validation=self.held)

    @cached_property
    def plan(self) -> Plan:
        """The order of the run; says what is left out."""
        announce(self.chosen)
        return planned(
            self.index,
            self.chosen.rows,
            weights=self.datasets,
            streams=self.streams,
            mix=self.mix,
            measure=self.measure,
            packer=Group(batch=self.batch),
            packs=self.packs,
            micro=1,
            window=self.window,
            seed=self.seed,
        )

    def texts(self) -> list[str]:
        """The captions of the training rows under every name with a weight: what a vocabulary is learned from."""
        found = self.captions.learnable(self.chosen.rows)
        if not found:
            raise DataError(
                f"{', '.join(self.datasets)}: no caption to learn from; "
                "give captions_csv= to step=curate or step=captions"
            )
        return found

    @cached_property
    def kinds(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The bucket of every row as a number, and its pixels; rows without one have -1 and 0."""
        numbers = {shape: number for number, shape in enumerate(self.table.shapes())}
        shapes = self.loader.shapes
        kind = np.asarray([-1 if shape is None else numbers[shape] for shape in shapes])
        return kind, np.asarray([0.0 if shape is None else float(shape.pixels) for shape in shapes])

    def measure(self, stream: int, rows: NDArray[np.int64], ordinal: int) -> Items:
        """Items of a stretch of a stream: one kind a bucket, cost by pixels."""
        del stream
        kind, area = self.kinds
        return items(rows, ordinal + np.arange(len(rows)), kind=kind[rows], cost=area[rows])

    def train_dataloader(self) -> Batches:
        """Micro-batches from where `begin` said; ends when the run's samples are seen."""
        step, samples, rank, ranks = self.started
        self.plan.serve(ranks)
        source = Micros(plan=self.plan, captions=self.captions, step=step, samples=samples, rank=rank, ranks=ranks)
        device = self.trainer.strategy.root_device if self.trainer else "cpu"
        most = self.max_bad_fraction
        return Batches(self.loader, source, workers=self.workers, max_bad_fraction=most, device=device)

    def validation(self, n: int) -> list[ClipBatch]:
        """At most `n` held-out clips, from their first frame on, in batches of one bucket; the same ones every time."""
        rows = in_order(self.chosen.held, self.index.key)[:n]
        alike: dict[VideoShape, list[int]] = {}
        for row in rows:
            alike.setdefault(self.loader.shape(row), []).append(row)
        parts = [same[at : at + self.batch] for same in alike.values() for at in range(0, len(same), self.batch)]
        return [self.held_out_batch(part, number) for number, part in enumerate(parts)]

    def held_out_batch(self, rows: Sequence[int], number: int) -> ClipBatch:
        """Rows of one bucket as a batch outside of the order (stream -1)."""
        place = Place(step=0, samples_seen=0, micro=0, micros=1, packs=((-1, number),), step_weight=float(len(rows)))
        texts = tuple(self.captions.pick(row, level=0.0) for row in rows)
        pack = Pack(stream=-1, number=number, items=tuple(Item(row=row, ordinal=0) for row in rows))
        made, bad = self.loader.load(rows, [0] * len(rows))
        return self.loader.finish(made, Micro(place=place, packs=(pack,), captions=texts), bad)
