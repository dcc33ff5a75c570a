"""Clips in pixels, for the VAE and the recaptioner: batches of one bucket, in the order of DESIGN.md section 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from lightning import LightningDataModule

from datamodules import captions, index
from datamodules.buckets import buckets
from datamodules.index import Index
from datamodules.loader import Batches
from datamodules.order import deal
from datamodules.packs import Item, Pack, group
from datamodules.pixels import ClipLoader, fitting
from datamodules.plan import Micros, Plan
from datamodules.shards import Shards
from datamodules.steps import micros
from dit_video import log
from dit_video.batch import ClipBatch, Place
from dit_video.errors import DataError
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dit_video.shapes import VideoShape


class ClipData(LightningDataModule):
    """Batches of equal-sized clips.

    Args:
        dataset: folder of a curated dataset.
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
        max_bad_fraction: damaged share at which the run stops.
        workers: loader processes; any number gives the same batches.
        seed: key of the order.
    """

    def __init__(
        self,
        *,
        dataset: str,
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
        window: int = 8,
        captions: Mapping[str, float] | None = None,
        dropout: float = 0.0,
        validation: float = 0.02,
        images: bool = True,
        max_bad_fraction: float = 0.01,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dataset, self.fps, self.batch, self.packs = str(dataset), float(fps), batch, packs
        self.table = buckets(sizes=sizes, pixels=pixels, frames=frames, time=time, multiple=multiple)
        self.streams, self.mix, self.window, self.seed = streams, mix, window, seed
        self.weights, self.dropout = dict(captions or {"source": 1.0}), dropout
        self.held, self.images = validation, images
        self.max_bad_fraction, self.workers = max_bad_fraction, workers
        self.fingerprint = str(index.describe(self.dataset)["fingerprint"])
        self.begin(0, 0, 0, 1)

    def begin(self, step: int, samples: int, rank: int, ranks: int) -> None:
        """Start at `step` of a run of `samples` samples, as rank `rank` of `ranks`; sets `micros`."""
        self.micros = micros(packs=self.packs, micro=1, ranks=ranks)
        self.started = (step, samples, rank, ranks)

    @cached_property
    def index(self) -> Index:
        """The dataset's index."""
        return index.load(self.dataset)

    @cached_property
    def loader(self) -> ClipLoader:
        """What makes batches, in this process or a worker."""
        shapes = fitting(self.index, self.table, self.fps)
        shards = Shards()
        return ClipLoader(index=self.index, shards=shards, shapes=shapes, fps=self.fps, seed=self.seed)

    @cached_property
    def captions(self) -> captions.Captions:
        """The captions by name."""
        return captions.captions(self.index, weights=self.weights, dropout=self.dropout, seed=self.seed)

    def rows(self, *, held_out: bool) -> NDArray[np.int64]:
        """Rows of training, or those held out, that have a bucket and one of the captions."""
        held = index.held_out(self.index, self.held)
        usable = [
            shape is not None and self.captions.has(row) and (self.images or not self.index.image[row])
            for row, shape in enumerate(self.loader.shapes)
        ]
        return np.flatnonzero((held == held_out) & np.asarray(usable))

    @cached_property
    def plan(self) -> Plan:
        """The order of the run; says what is left out."""
        rows = self.rows(held_out=False)
        short = sum(shape is None for shape in self.loader.shapes)
        log.get("dit_video.datamodules").info(
            "%d of %d clips to train on (%d too short for every bucket)", len(rows), len(self.index), short
        )
        dealt = deal(self.index.shard, rows, packs=self.packs, streams=self.streams, window=self.mix, seed=self.seed)
        packer = partial(grouped, batch=self.batch)
        return Plan(
            order=dealt,
            measure=self.measure,
            packer=packer,
            packs=self.packs,
            micro=1,
            window=self.window,
            seed=self.seed,
        )

    def texts(self) -> list[str]:
        """The captions of the training rows under every name with a weight: what a vocabulary is learned from."""
        rows = self.rows(held_out=False).tolist()
        found = [text for named in self.captions.texts.values() for row in rows if (text := named[row])]
        if not found:
            raise DataError(
                f"{self.dataset} has no caption to learn from; give captions_csv= to step=curate or step=captions"
            )
        return found

    def measure(self, stream: int, rows: NDArray[np.int64], ordinal: int) -> Iterator[Item]:
        """Items of a stretch of a stream: one kind a bucket, cost by pixels."""
        del stream
        for at, row in enumerate(rows.tolist()):
            shape = self.loader.shape(row)
            kind = hash((shape.frames, shape.height, shape.width))
            yield Item(row=row, ordinal=ordinal + at, cost=float(shape.pixels), kind=kind)

    def train_dataloader(self) -> Batches:
        """Micro-batches from where `begin` said; ends when the run's samples are seen."""
        step, samples, rank, ranks = self.started
        source = Micros(plan=self.plan, captions=self.captions, step=step, samples=samples, rank=rank, ranks=ranks)
        return Batches(self.loader, source, workers=self.workers, max_bad_fraction=self.max_bad_fraction)

    def validation(self, n: int) -> list[ClipBatch]:
        """At most `n` held-out clips, from their first frame on, in batches of one bucket; the same ones every time."""
        rows = self.rows(held_out=True).tolist()
        rows = sorted(rows, key=lambda row: seed_for(0, "order of validation", self.index.key[row]))[:n]
        alike: dict[VideoShape, list[int]] = {}
        for row in rows:
            alike.setdefault(self.loader.shape(row), []).append(row)
        parts = [same[at : at + self.batch] for same in alike.values() for at in range(0, len(same), self.batch)]
        return [self.held_out_batch(part, number) for number, part in enumerate(parts)]

    def held_out_batch(self, rows: Sequence[int], number: int) -> ClipBatch:
        """Rows of one bucket as a batch outside of the order (stream -1)."""
        place = Place(step=0, samples_seen=0, micro=0, micros=1, packs=((-1, number),), step_weight=float(len(rows)))
        texts = tuple(self.captions.pick(row, level=0.0) for row in rows)
        return self.loader.load(rows, [0] * len(rows), captions=texts, place=place).batch


def grouped(items: Iterator[Item], stream: int, *, batch: int) -> Iterator[Pack]:
    """Batches of one bucket of a stream."""
    return group(items, stream=stream, batch=batch)
