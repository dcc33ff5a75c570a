"""Latent clips in packs, for the DiT: sequences of fixed length, in the order of DESIGN.md section 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from lightning import LightningDataModule

from datamodules import captions, conditions, index
from datamodules.conditions import Conditions, frame_counts, settle
from datamodules.index import Index, LatentIndex
from datamodules.loader import Batches
from datamodules.order import deal
from datamodules.packs import Item, Pack, pack
from datamodules.plan import Micros, Plan
from datamodules.shards import Shards
from datamodules.steps import micros
from datamodules.tokens import PackLoader
from dit_video import log
from dit_video.errors import ConfigError
from dit_video.shapes import LatentShape

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LatentData(LightningDataModule):
    """Packs of latent clips.

    Args:
        dataset: folder of a curated dataset.
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
        max_bad_fraction: damaged share at which the run stops.
        workers: loader processes; any number gives the same batches.
        seed: key of the order, the conditions and the captions.
    """

    def __init__(
        self,
        *,
        dataset: str,
        latents: str = "vae",
        length: int = 1024,
        patch: int = 1,
        packs: int = 8,
        micro: int = 1,
        streams: int = 64,
        mix: int = 4,
        window: int = 8,
        lookahead: int = 32,
        conditions: Mapping[str, float] | None = None,
        captions: Mapping[str, float] | None = None,
        dropout: float = 0.1,
        validation: float = 0.02,
        max_bad_fraction: float = 0.01,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dataset, self.name, self.length, self.patch = str(dataset), latents, length, patch
        self.packs, self.micro, self.lookahead = packs, micro, lookahead
        self.streams, self.mix, self.window, self.seed = streams, mix, window, seed
        self.patterns = dict(conditions or {"none": 0.7, "first": 0.1, "prefix": 0.1, "suffix": 0.1})
        self.weights, self.dropout = dict(captions or {"source": 1.0}), dropout
        self.held = validation
        self.max_bad_fraction, self.workers = max_bad_fraction, workers
        about = str(index.describe(self.dataset)["fingerprint"])
        self.fingerprint = index.combine(about, *map(str, sorted(self.recipe(self.dataset, latents).items())))
        self.begin(0, 0, 0, 1)

    @staticmethod
    def recipe(dataset: str, latents: str) -> dict[str, object]:
        """The parts of the sidecar's recipe that decide its contents; DataError where it is missing."""
        found = index.load_recipe(dataset, latents)
        return {key: value for key, value in found.items() if key != "vae"}

    def begin(self, step: int, samples: int, rank: int, ranks: int) -> None:
        """Start at `step` of a run of `samples` samples, as rank `rank` of `ranks`; sets `micros`."""
        self.micros = micros(packs=self.packs, micro=self.micro, ranks=ranks)
        self.started = (step, samples, rank, ranks)

    @cached_property
    def index(self) -> Index:
        """The dataset's index."""
        return index.load(self.dataset)

    @cached_property
    def latents(self) -> LatentIndex:
        """The sidecar's index."""
        return index.load_latents(self.index, self.name)

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
            shards=Shards(),
            channels=self.channels,
            patch=self.patch,
            length=self.length,
        )

    @cached_property
    def frame_tokens(self) -> NDArray[np.int64]:
        """Tokens of one latent frame of every row; ShapeError where the patch does not divide them."""
        sizes = zip(self.latents.height.tolist(), self.latents.width.tolist(), strict=True)
        return np.asarray([LatentShape(frames=1, height=h, width=w).tokens(self.patch) for h, w in sizes])

    def texts(self) -> list[str]:
        """The captions of the training rows under every name with a weight: what a vocabulary is learned from."""
        rows = self.rows.tolist()
        return [text for named in self.captions.texts.values() for row in rows if (text := named[row])]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows to train on: with a latent that fits into a pack under any pattern, and a caption."""
        longest = (self.latents.frames + 1) * self.frame_tokens
        usable = [self.captions.has(row) for row in range(len(self.index))]
        encoded = self.latents.frames > 0
        fits = longest <= self.length
        if not (encoded & fits).any():
            raise ConfigError(
                f"no clip fits into a pack of {self.length} tokens, the smallest takes "
                f"{min(longest[encoded].tolist(), default=0)}; raise datamodules.length"
            )
        held = index.held_out(self.index, self.held)
        log.get("dit_video.datamodules").info(
            "%d of %d clips to train on (%d not encoded, %d too long for a pack of %d tokens)",
            int((encoded & fits & ~held).sum()),
            len(held),
            int((~encoded).sum()),
            int((encoded & ~fits).sum()),
            self.length,
        )
        return np.flatnonzero(encoded & fits & ~held & np.asarray(usable))

    @cached_property
    def plan(self) -> Plan:
        """The order of the run."""
        dealt = deal(
            self.index.shard, self.rows, packs=self.packs, streams=self.streams, window=self.mix, seed=self.seed
        )
        drawn = conditions.conditions(self.patterns, seed=self.seed)
        return Plan(
            order=dealt,
            measure=partial(self.measure, drawn),
            packer=partial(packed, length=self.length, lookahead=self.lookahead),
            packs=self.packs,
            micro=self.micro,
            window=self.window,
            seed=self.seed,
        )

    def measure(self, drawn: Conditions, stream: int, rows: NDArray[np.int64], ordinal: int) -> Iterator[Item]:
        """Items of a stretch of a stream with their conditions; attention makes the cost quadratic."""
        ordinals = ordinal + np.arange(len(rows))
        pattern, level = drawn.draw(stream, ordinals)
        frames, area = self.latents.frames[rows].tolist(), self.frame_tokens[rows].tolist()
        for at, row in enumerate(rows.tolist()):
            tails, image = self.latents.tails[row], bool(self.index.image[row])
            name, cut = settle(int(pattern[at]), float(level[at]), frames=frames[at], tails=tails, image=image)
            whole, given = frame_counts(name, cut, frames[at])
            tokens = whole * area[at]
            weight = float((whole - given) * area[at])
            yield Item(
                row=row,
                ordinal=ordinal + at,
                tokens=tokens,
                weight=weight,
                cost=float(tokens) ** 2,
                pattern=name,
                cut=cut,
            )

    def train_dataloader(self) -> Batches:
        """Micro-batches from where `begin` said; ends when the run's samples are seen."""
        step, samples, rank, ranks = self.started
        source = Micros(plan=self.plan, captions=self.captions, step=step, samples=samples, rank=rank, ranks=ranks)
        return Batches(self.loader, source, workers=self.workers, max_bad_fraction=self.max_bad_fraction)


def packed(items: Iterator[Item], stream: int, *, length: int, lookahead: int) -> Iterator[Pack]:
    """Packs of a stream."""
    return pack(items, stream=stream, length=length, lookahead=lookahead)
