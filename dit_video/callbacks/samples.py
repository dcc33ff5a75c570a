"""Shows what the DiT makes while it trains: a few fixed prompts, raw and averaged weights, as MP4s and to the logger.

It also keeps the recipe of the latents in the run's folder, which is all that sampling needs beside the checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video import log
from dit_video.callbacks.ema import Ema
from dit_video.pipeline.denoise import Sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dit_video.batch import PackBatch
    from dit_video.pipeline.generate import Models


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
        self.before = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the recipe beside the checkpoints."""
        if trainer.is_global_zero:
            recipe = trainer.datamodule.latents.recipe  # type: ignore[attr-defined]
            (self.dir / "recipe.json").write_text(json.dumps(recipe, indent=1), encoding="utf-8")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PackBatch, batch_idx: int
    ) -> None:
        """Sample when an interval is full; other ranks do not wait."""
        place = batch.place
        if not self.every_samples or place.micro < place.micros - 1 or not trainer.is_global_zero:
            return
        mark = place.samples_seen // self.every_samples
        if self.before not in {-1, mark}:
            self.show(trainer, pl_module, batch)
        self.before = mark

    def show(self, trainer: Trainer, pl_module: LightningModule, batch: PackBatch) -> None:
        """Make the videos with the raw and with the averaged weights."""
        prompts = self.prompts or [text for text in dict.fromkeys(batch.captions) if text][:4]
        self.models = self.models or self.load(pl_module)
        average = next((item for item in trainer.callbacks if isinstance(item, Ema)), None)  # type: ignore[attr-defined]
        pl_module.eval()
        files = self.make(prompts, f"{batch.place.samples_seen:09d}-raw")
        if average is not None:
            with average.swapped():
                files += self.make(prompts, f"{batch.place.samples_seen:09d}-ema")
        pl_module.train()
        if trainer.logger is not None and hasattr(trainer.logger, "log_video"):
            trainer.logger.log_video("samples", [str(file) for file in files], step=batch.place.samples_seen)

    def load(self, task: LightningModule) -> Models:
        """The VAE of the latents, beside the task's own models."""
        from dit_video.pipeline.command import read_recipe
        from dit_video.pipeline.generate import Models
        from dit_video.pipeline.load import load_vae

        recipe, vae = read_recipe(self.dir)
        return Models(load_vae(vae).to(task.device), task.dit, task.text, recipe)  # type: ignore[arg-type]

    def make(self, prompts: Sequence[str], name: str) -> list[Path]:
        """Sample all prompts at the model's longest bucket of its first size."""
        from dit_video.media.write import write
        from dit_video.pipeline.generate import generate
        from dit_video.pipeline.request import Request

        assert self.models is not None
        recipe = self.models.recipe
        bucket = max(recipe.buckets, key=lambda shape: (shape.frames, shape.pixels))
        requests = [
            Request(prompt=prompt, height=bucket.height, width=bucket.width, frames=bucket.frames, seed=seed)
            for seed, prompt in enumerate(prompts)
        ]
        folder = self.dir / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, frames in enumerate(generate(requests, models=self.models, sampling=self.sampling)):
            files.append(folder / f"{name}-{number}.mp4")
            write(files[-1], frames, fps=recipe.fps)
        log.get("dit_video").info("sampled %d videos into %s", len(files), folder)
        return files
