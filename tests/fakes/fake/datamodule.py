"""Noise whose content is a pure function of the step."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from dit_video.batch import ClipBatch, Place
from dit_video.seeds import generator


class Clips(IterableDataset):
    """Micro-batches of one clip each from a step on; a NaN where a test asks for one."""

    def __init__(self, module: FakeData, step: int, samples: int, rank: int, ranks: int) -> None:
        self.module, self.step, self.samples, self.rank, self.ranks = module, step, samples, rank, ranks

    def __iter__(self) -> Iterator[ClipBatch]:
        module, per_step = self.module, self.module.micros * self.ranks
        for step in range(self.step, -(-self.samples // per_step)):
            for micro in range(module.micros):
                number = micro * self.ranks + self.rank
                video = torch.randn(1, 3, 1, 4, 4, generator=generator(0, "clip", step, number))
                if step == module.nan_at:
                    video = video * float("nan")
                yield ClipBatch(
                    video=video,
                    weight=torch.ones(1),
                    captions=("",),
                    keys=(f"{step}-{number}",),
                    fps=8.0,
                    place=Place(
                        step=step,
                        samples_seen=(step + 1) * per_step,
                        micro=micro,
                        micros=module.micros,
                        packs=((number, step),),
                        step_weight=float(per_step),
                    ),
                )


class FakeData(LightningDataModule):
    """Keeps the contract: `micros`, `fingerprint`, `begin`, and a loader that ends when the samples are seen."""

    def __init__(self, *, micros: int = 2, nan_at: int = -1, fingerprint: str = "f") -> None:
        super().__init__()
        self.micros, self.nan_at, self.fingerprint = micros, nan_at, fingerprint

    def begin(self, step: int, samples: int, rank: int, ranks: int) -> None:
        """Where the loader starts and what its share is."""
        self.clips = Clips(self, step, samples, rank, ranks)

    def train_dataloader(self) -> DataLoader:
        """Micro-batches as they are."""
        return DataLoader(self.clips, batch_size=None)


class FakeLatents(FakeData):
    """Says that it is made of latents."""

    latents = SimpleNamespace(recipe={"vae": "vae", "vae_hash": "0", "fps": 8.0})
