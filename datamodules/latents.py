"""Latent clips in packs, for the DiT: sequences of fixed length, in the order of order/streams.py."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import LightningDataModule

from datamodules.dataset import captions, index, sidecars
from datamodules.dataset.captions import caption_tables
from datamodules.dataset.choose import Chosen, announce, choose
from datamodules.dataset.filter import score_tables
from datamodules.dataset.index import Index
from datamodules.dataset.sidecars import LatentIndex
from datamodules.files.shards import Shards
from datamodules.loading.loader import Batches
from datamodules.loading.tokens import PackLoader
from datamodules.order import conditions
from datamodules.order.conditions import Conditions, frame_counts, settle
from datamodules.order.held import held_micro, held_packs, in_order
from datamodules.order.packs import Fill, Items, items
from datamodules.order.plan import Micros, Plan, planned
from datamodules.order.steps import micros
from dit_video.errors import ConfigError
from dit_video.models.dit.flops import flops
from dit_video.shapes import LatentShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dit_video.batch import PackBatch


class LatentData(LightningDataModule):
    """Packs of latent clips.

    Args:
        dataset: folder or URL of a curated dataset; or several with how often an epoch has each sample of them:
            {DIR: 1, OTHER: 0.5}.
        latents: name of the latent sidecar made by step=encode.
        length: tokens of a pack.
        patch: side of a patch of latents; the DiT's.
        packs: packs of an optimizer step, over all ranks.
        micro: packs of a micro-batch.
        streams: most canonical streams; divides `packs`, and is at most the number of shards.
        mix: shards of a stream that are shuffled together.
        window: steps over which packs are regrouped by cost.
        lookahead: samples of a stream that packing chooses among.
        conditions: weight of each conditioning pattern: none, first, prefix, suffix.
        captions: weight of each caption by name; `source` is the one that came with the clip.
        dropout: probability of an empty caption, for guidance.
        validation: fraction of clips held out (and the last of each source with several); 0 for none.
        filter: thresholds by score, [low, high] with null for open: {motion: [0.02, null]}.
        drop_long: leave out clips that are longer than a pack, instead of refusing them.
        width: the DiT's; the wider, the less does attention weigh in the cost of a clip.
        max_bad_fraction: damaged share at which the run stops.
        cache: folder in which members of remote shards are kept; null for none.
        cache_gb: most that it may hold, in 10^9 bytes.
        patience: seconds for which storage that does not answer is asked again, before the run stops.
        workers: loader processes; any number gives the same batches.
        seed: key of the order, the conditions and the captions.
    """

    def __init__(
        self,
        *,
        dataset: str | Mapping[str, float],
        latents: str = "vae",
        length: int = 1024,
        patch: int = 1,
        packs: int = 8,
        micro: int = 1,
        streams: int = 64,
        mix: int = 4,
        window: int = 32,
        lookahead: int = 64,
        conditions: Mapping[str, float] | None = None,
        captions: Mapping[str, float] | None = None,
        dropout: float = 0.1,
        validation: float = 0.02,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 the key is datamodules.filter
        drop_long: bool = False,
        width: int = 1152,
        max_bad_fraction: float = 0.01,
        cache: str | None = None,
        cache_gb: float = 20.0,
        patience: float = 300.0,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.datasets = index.weights_of(dataset)
        self.name, self.length, self.patch, self.width = latents, length, patch, width
        self.packs, self.micro, self.lookahead = packs, micro, lookahead
        self.streams, self.mix, self.window, self.seed = streams, mix, window, seed
        self.patterns = dict(conditions or {"none": 0.7, "first": 0.1, "prefix": 0.1, "suffix": 0.1})
        self.weights, self.dropout = dict(captions or {"source": 1.0}), dropout
        self.held, self.bounds, self.drop_long = validation, dict(filter or {}), drop_long
        self.max_bad_fraction, self.workers = max_bad_fraction, workers
        self.shards = Shards(cache=cache, cache_gb=cache_gb, patience=patience)
        made = index.combine(index.fingerprint_of(self.datasets), *self.recipe())
        by = [*caption_tables(self.weights), *score_tables(self.bounds)]
        self.fingerprint = index.marked(made, self.datasets, by)
        self.begin(0, 0, 0, 1)

    def recipe(self) -> list[str]:
        """The parts of the sidecar's recipe that decide its contents; DataError where it is missing."""
        found = sidecars.agreed(tuple(self.datasets), self.name)
        return [str(part) for part in sorted(found.items()) if part[0] not in {"vae", "dataset_fingerprint"}]

    def begin(self, step: int, samples: int, rank: int, ranks: int) -> None:
        """Start at `step` of a run of `samples` samples, as rank `rank` of `ranks`; sets `micros`."""
        self.micros = micros(packs=self.packs, micro=self.micro, ranks=ranks)
        self.started = (step, samples, rank, ranks)

    @cached_property
    def index(self) -> Index:
        """The dataset's index."""
        return index.load(self.datasets)

    @cached_property
    def latents(self) -> LatentIndex:
        """The sidecar's index."""
        return sidecars.load_latents(self.index, self.name)

    @cached_property
    def channels(self) -> int:
        """Channels of the latents."""
        return int(self.latents.recipe["compression"]["channels"])

    @cached_property
    def captions(self) -> captions.Captions:
        """The captions by name."""
        return captions.captions(self.index, weights=self.weights, dropout=self.dropout, seed=self.seed)

    @cached_property
    def loader(self) -> PackLoader:
        """What makes batches, in this process or a worker."""
        return PackLoader(
            index=self.index,
            latents=self.latents,
            shards=self.shards,
            channels=self.channels,
            patch=self.patch,
            length=self.length,
        )

    @cached_property
    def frame_tokens(self) -> NDArray[np.int64]:
        """Tokens of one latent frame of every row; ShapeError where the patch does not divide them."""
        both = self.latents.height << 32 | self.latents.width
        sizes, place = np.unique(both, return_inverse=True)
        shapes = (LatentShape(frames=1, height=size >> 32, width=size & 0xFFFFFFFF) for size in sizes.tolist())
        return np.asarray([shape.tokens(self.patch) for shape in shapes], np.int64)[place]

    def texts(self) -> list[str]:
        """The captions of the training rows under every name with a weight: what a vocabulary is learned from."""
        return self.captions.learnable(self.chosen.rows)

    @cached_property
    def chosen(self) -> Chosen:
        """The rows of training: with a caption, and a latent that fits into a pack under any pattern; in the filter."""
        longest = (self.latents.frames + 1) * self.frame_tokens
        encoded = self.latents.frames > 0
        long = encoded & (longest > self.length)
        if long.any() and (not self.drop_long or (long == encoded).all()):
            least, most = (int(pick(longest[encoded])) for pick in (np.min, np.max))
            raise ConfigError(
                f"{int(long.sum())} of {int(encoded.sum())} clips do not fit into a pack of {self.length} tokens: they "
                f"take {least} to {most}; raise datamodules.length, or leave them out by datamodules.drop_long=true"
            )
        unfit = {"not encoded": ~encoded, "longer than a pack": long, "without a caption": ~self.captions.known}
        return choose(self.index, unfit, bounds=self.bounds, validation=self.held)

    @cached_property
    def plan(self) -> Plan:
        """The order of the run; says what is left out."""
        announce(self.chosen)
        drawn = conditions.conditions(self.patterns, seed=self.seed)
        return planned(
            self.index,
            self.chosen.rows,
            weights=self.datasets,
            streams=self.streams,
            mix=self.mix,
            measure=partial(self.measure, drawn),
            packer=Fill(length=self.length, lookahead=self.lookahead),
            packs=self.packs,
            micro=self.micro,
            window=self.window,
            seed=self.seed,
        )

    def measure(self, drawn: Conditions, stream: int, rows: NDArray[np.int64], ordinal: int) -> Items:
        """Items of a stretch of a stream with their conditions; attention makes the cost quadratic."""
        found, ordinals = self.latents, ordinal + np.arange(len(rows))
        pattern, level = drawn.draw(stream, ordinals)
        frames, area = found.frames[rows], self.frame_tokens[rows]
        tails = {"tails": found.tails[rows], "tail_counts": found.tail_counts[rows]}
        pattern, cut = settle(pattern, level, frames=frames, **tails)
        whole, given = frame_counts(pattern, cut, frames)
        tokens = whole * area
        cost = flops(tokens=tokens, frames=whole, width=self.width, depth=1, words=0, text_width=0, inside=0)
        weight = ((whole - given) * area).astype(np.float64)
        return items(
            rows, ordinals, tokens=tokens, weight=weight, cost=cost.astype(np.float64), pattern=pattern, cut=cut
        )

    def train_dataloader(self) -> Batches:
        """Micro-batches from where `begin` said; ends when the run's samples are seen."""
        step, samples, rank, ranks = self.started
        self.plan.serve(ranks)
        source = Micros(plan=self.plan, captions=self.captions, step=step, samples=samples, rank=rank, ranks=ranks)
        device = self.trainer.strategy.root_device if self.trainer else "cpu"
        most = self.max_bad_fraction
        return Batches(self.loader, source, workers=self.workers, max_bad_fraction=most, device=device)

    def validation(self, n: int) -> list[PackBatch]:
        """At most `n` held-out clips, nothing given, in packs outside of the order (stream -1); the same every time."""
        rows = in_order(self.chosen.held, self.index.key)[:n]
        tokens = self.latents.frames * self.frame_tokens
        found = held_packs(rows, tokens, length=self.length)
        texts = {row: self.captions.pick(row, level=0.0) for row in rows}
        micros = [held_micro(pack, captions=tuple(texts[item.row] for item in pack.items)) for pack in found]
        return list(Batches(self.loader, micros, workers=0, max_bad_fraction=self.max_bad_fraction))
