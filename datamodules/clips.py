"""Clips in pixels, for the VAE and the recaptioner: batches of one bucket, in the order of DESIGN.md section 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from lightning import LightningDataModule
from torch.utils.data import Dataset

from datamodules import captions, index, pixels
from datamodules.buckets import Buckets, buckets
from datamodules.index import Index
from datamodules.order import deal, uniform
from datamodules.packs import Item, Pack, group
from datamodules.plan import Batches, Loaded, Micros, Plan
from datamodules.shards import Shards
from datamodules.steps import Micro, micros
from dit_video import log
from dit_video.batch import ClipBatch, Place
from dit_video.errors import DataError
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dit_video.shapes import VideoShape


def fitting(found: Index, table: Buckets, fps: float) -> list[VideoShape | None]:
    """The bucket of every row; None where a clip is too short for all."""
    return [
        table.choose(frames=pixels.available(int(f), float(rate), fps), height=int(h), width=int(w))
        for f, rate, h, w in zip(found.frames, found.fps, found.height, found.width, strict=True)
    ]


def to_video(frames: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (t, h, w, 3) as float32 (3, t, h, w) in [-1, 1]."""
    return rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "t h w c -> c t h w").float() / 127.5 - 1


@dataclass(frozen=True, kw_only=True)
class ClipLoader(Dataset):
    """Makes a ClipBatch of a planned micro-batch; used in worker processes."""

    index: Index
    shards: Shards
    shapes: list[VideoShape | None]
    fps: float
    seed: int

    def __getitem__(self, micro: Micro) -> Loaded:
        items = [(pack.stream, item) for pack in micro.packs for item in pack.items]
        rows = [item.row for _, item in items]
        starts = [self.start(stream, item) for stream, item in items]
        return self.load(rows, starts, captions=micro.captions, place=micro.place)

    def start(self, stream: int, item: Item) -> int:
        """The first frame (at the recipe's rate) of a training clip, drawn where the clip is longer than its bucket."""
        found, row = self.index, item.row
        spare = pixels.available(int(found.frames[row]), float(found.fps[row]), self.fps) - self.shape(row).frames
        return int(float(uniform(self.seed, "start", stream, item.ordinal)) * (spare + 1)) if spare > 0 else 0

    def shape(self, row: int) -> VideoShape:
        """The bucket of a row that has one."""
        found = self.shapes[row]
        assert found is not None, "rows without a bucket take no part"
        return found

    def load(self, rows: Sequence[int], starts: Sequence[int], *, captions: tuple[str, ...], place: Place) -> Loaded:
        """Rows of one bucket as a ClipBatch; a damaged one is zeros of weight 0."""
        shape = self.shape(rows[0])
        video = torch.zeros(len(rows), 3, shape.frames, shape.height, shape.width)
        weight, bad = torch.ones(len(rows)), []
        for at, (row, start) in enumerate(zip(rows, starts, strict=True)):
            try:
                video[at] = to_video(self.pixels(row, start))
            except DataError as error:
                weight[at] = 0
                bad.append((self.index.key[row], str(error)))
        keys = tuple(self.index.key[row] for row in rows)
        batch = ClipBatch(video=video, weight=weight, captions=captions, keys=keys, fps=self.fps, place=place)
        return Loaded(batch, tuple(bad), len(rows))

    def pixels(self, row: int, start: int = 0) -> NDArray[np.uint8]:
        """One sample as uint8 (t, h, w, 3) of its bucket; DataError where it is damaged."""
        found = self.index
        place: dict[str, Any] = {
            "offset": int(found.offset[row]),
            "size": int(found.size[row]),
            "sha256": found.sha256[row],
        }
        data = self.shards.read(int(found.shard[row]), **place)
        return pixels.clip(data, found.suffix[row], self.shape(row), fps=self.fps, start=start)


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
        shards = Shards(f"{self.dataset}/clips")
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
