"""Shows what the DiT makes while it trains: a few fixed prompts, raw and averaged weights, as MP4s and to the logger.

Which intervals were shown is read from the names of the videos that stand, so a run that is killed while it samples
shows that interval when it goes on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video import log
from dit_video.callbacks.ema import Ema
from dit_video.pipeline.denoise import Sampling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dit_video.batch import PackBatch
    from dit_video.pipeline.generate import Frames, Models


class Samples(Callback):
    """Samples `prompts` each `every_samples` samples into `dir`/samples.

    Args:
        dir: folder of the run.
        every_samples: interval; 0 for never.
        prompts: what to show; by default captions of the training data.
        sampling: how.
    """

    def __init__(
        self,
        *,
        dir: str,  # noqa: A002 - the folder of the run, as everywhere
        every_samples: int,
        prompts: Sequence[str] | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.dir, self.every_samples = Path(dir), every_samples
        self.prompts, self.sampling = list(prompts or []), sampling or Sampling()
        self.models: Models | None = None
        self.shown: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the VAE now, on all ranks: the run ends at its start, not hours later, where it is missing."""
        if self.every_samples:
            models = self.load(pl_module)
            self.models = models if trainer.is_global_zero else None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PackBatch, batch_idx: int
    ) -> None:
        """Sample when an interval is full; other ranks do not wait."""
        place = batch.place
        if not self.every_samples or place.micro < place.micros - 1 or not trainer.is_global_zero:
            return
        if self.shown is None:
            self.shown = self.newest(before=place.samples_seen)
        if place.samples_seen // self.every_samples > self.shown // self.every_samples:
            self.show(trainer, pl_module, batch)
            self.shown = place.samples_seen

    def newest(self, *, before: int) -> int:
        """Samples seen at the newest videos that stand of a place before this one; 0 where there are none."""
        names = [re.match(r"(\d{9,})-", path.name) for path in (self.dir / "samples").glob("*.mp4")]
        return max((seen for name in names if name and (seen := int(name[1])) < before), default=0)

    def show(self, trainer: Trainer, pl_module: LightningModule, batch: PackBatch) -> None:
        """Make the videos with the raw and with the averaged weights."""
        prompts = self.prompts or [text for text in dict.fromkeys(batch.captions) if text][:4]
        assert self.models is not None
        average = next((item for item in trainer.callbacks if isinstance(item, Ema)), None)  # type: ignore[attr-defined]
        pl_module.eval()
        videos = {"raw": self.make(prompts)}
        if average is not None:
            with average.swapped():
                videos["ema"] = self.make(prompts)
        pl_module.train()
        files = self.write(videos, batch.place.samples_seen)
        if trainer.logger is not None and hasattr(trainer.logger, "log_video"):
            trainer.logger.log_video("samples", [str(file) for file in files], step=batch.place.samples_seen)

    def load(self, task: LightningModule) -> Models:
        """The VAE of the latents, beside the task's own models."""
        from dit_video.pipeline.generate import Models
        from dit_video.pipeline.recipe import read_recipe

        recipe, coder = read_recipe(self.dir)
        return Models(coder.load().to(task.device), task.dit, task.text, recipe)  # type: ignore[arg-type]

    def make(self, prompts: Sequence[str]) -> list[Frames]:
        """Sample all prompts at the model's longest bucket of its first size."""
        from dit_video.pipeline.generate import generate
        from dit_video.pipeline.request import Request

        assert self.models is not None
        buckets = self.models.recipe.buckets
        bucket = max(buckets, key=lambda shape: (shape.frames, shape.pixels))
        requests = [
            Request(prompt=prompt, height=bucket.height, width=bucket.width, frames=bucket.frames, seed=seed)
            for seed, prompt in enumerate(prompts)
        ]
        return list(generate(requests, models=self.models, sampling=self.sampling))

    def write(self, videos: Mapping[str, Sequence[Frames]], samples_seen: int) -> list[Path]:
        """Write videos by kind, all of them once all are made."""
        from dit_video.pipeline import outputs

        assert self.models is not None
        folder = self.dir / "samples"
        named = {
            folder / f"{samples_seen:09d}-{kind}-{number}.mp4": frames
            for kind, made in videos.items()
            for number, frames in enumerate(made)
        }
        for file, frames in named.items():
            outputs.prepare(file)
            outputs.save(file, frames, fps=self.models.recipe.fps)
        log.get("dit_video").info("sampled %d videos into %s", len(named), folder)
        return list(named)
