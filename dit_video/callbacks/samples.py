"""Shows what the DiT makes while it trains: a few fixed prompts, raw and averaged weights, as MP4s and to the logger.

- Prompts are dealt out to the data ranks. In each round every rank makes one video of the same size, since a forward
  may be an exchange among all of them; one without a prompt of its own makes another's again and drops it.
- Which intervals were shown is read from the names of the videos that stand, so a run that is killed while it samples
  shows that interval when it goes on.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer

from dit_video import log
from dit_video.callbacks.consistent import plan_of
from dit_video.callbacks.look import kinds, looking
from dit_video.errors import ConfigError, UserError
from dit_video.parallel import agree
from dit_video.pipeline.denoise import Sampling
from dit_video.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dit_video.batch import PackBatch
    from dit_video.parallel.plan import Plan
    from dit_video.pipeline.generate import Frames, Models

PROMPTS = 4  # that are taken from the training data


class Samples(Callback):
    """Samples `prompts` each `every_samples` samples into `dir`/samples.

    Args:
        dir: folder of the run.
        every_samples: interval; 0 for never.
        prompts: what to show; by default some captions of the training data.
        sampling: how.
        seconds: after which no further round is begun; null for no limit.
    """

    def __init__(
        self,
        *,
        dir: str,  # noqa: A002 - the folder of the run, as everywhere
        every_samples: int,
        prompts: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        seconds: float | None = None,
    ) -> None:
        if every_samples < 0 or (seconds is not None and seconds <= 0):
            raise ConfigError(
                f"callbacks.samples needs every_samples >= 0 and seconds above 0, got {every_samples} and {seconds}"
            )
        self.dir, self.every_samples = Path(dir), every_samples
        self.prompts, self.sampling, self.seconds = list(prompts or []), sampling or Sampling(), seconds
        self.models: Models | None = None
        self.shown: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the VAE now, on all ranks: the run ends at its start, not hours later, where it is missing."""
        if self.every_samples:
            self.models = self.load(trainer, pl_module)
            self.prompts = self.prompts or drawn(trainer.datamodule.texts())  # type: ignore[attr-defined]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PackBatch, batch_idx: int
    ) -> None:
        """Sample when an interval is full, on all ranks."""
        place = batch.place
        if not self.every_samples or place.micro < place.micros - 1:
            return
        if self.shown is None:
            (self.shown,) = agree.highest([self.newest(before=place.samples_seen)])
        if place.samples_seen // self.every_samples > self.shown // self.every_samples:
            self.show(trainer, pl_module, place.samples_seen)
            self.shown = place.samples_seen

    def newest(self, *, before: int) -> int:
        """Samples seen at the newest videos that stand of a place before this one; 0 where there are none."""
        names = [re.match(r"(\d{9,})-raw-0\.", path.name) for path in (self.dir / "samples").glob("*.mp4")]
        return max((seen for name in names if name and (seen := int(name[1])) < before), default=0)

    def show(self, trainer: Trainer, pl_module: LightningModule, samples_seen: int) -> None:
        """Make the videos with the raw and with the averaged weights; the first is written when all others are."""
        plan = plan_of(pl_module, trainer.world_size)
        made = {
            self.dir / "samples" / f"{samples_seen:09d}-{kind}-{number}.mp4": frames
            for kind, number, frames in self.rounds(trainer, pl_module, plan)
            if trainer.global_rank % plan.sequence == 0
        }
        first = self.dir / "samples" / f"{samples_seen:09d}-raw-0.mp4"
        last = {first: made.pop(first)} if first in made else {}
        self.write(made)
        agree.highest([0])  # all others stand
        self.write(last)
        if trainer.is_global_zero:
            files = sorted((self.dir / "samples").glob(f"{samples_seen:09d}-*.mp4"))
            log.get("dit_video").info("sampled %d videos into %s", len(files), self.dir / "samples")
            if trainer.logger is not None and hasattr(trainer.logger, "log_video"):
                trainer.logger.log_video("samples", [str(file) for file in files], step=samples_seen)

    def rounds(self, trainer: Trainer, pl_module: LightningModule, plan: Plan) -> Iterator[tuple[str, int, Frames]]:
        """The videos of this data rank as (kind, number, frames), until there is no more prompt, or time."""
        began, own = time.monotonic(), plan.data_rank(trainer.global_rank)
        for first in range(0, len(self.prompts), plan.data_ranks):
            late = self.seconds is not None and time.monotonic() - began > self.seconds
            if agree.highest([int(late)])[0] and first:
                if trainer.is_global_zero:
                    told = "callbacks.samples.seconds=%g are over; %d of %d prompts are shown"
                    log.get("dit_video").warning(told, self.seconds, first, len(self.prompts))
                return
            number = first + own
            for kind in kinds(trainer):
                with looking(trainer, pl_module, kind=kind):
                    frames = self.make(number % len(self.prompts))
                if frames is not None and number < len(self.prompts):
                    yield kind, number, frames

    def load(self, trainer: Trainer, task: LightningModule) -> Models:
        """The VAE of the latents, beside the task's own models."""
        from dit_video.pipeline.generate import Models
        from dit_video.pipeline.parted import Parted
        from dit_video.pipeline.recipe import read_recipe

        recipe, coder = read_recipe(self.dir)
        dit: Any = task.dit
        if plan_of(task, trainer.world_size).sequence > 1:
            dit = Parted(dit, trainer.strategy.mesh["sequence"].get_group())  # type: ignore[attr-defined]
        return Models(coder.load().to(task.device), dit, task.text, recipe)  # type: ignore[arg-type]

    def make(self, number: int) -> Frames | None:
        """The video of a prompt at the model's longest bucket of its first size; None where it is not finite."""
        from dit_video.pipeline.generate import generate
        from dit_video.pipeline.request import Request

        assert self.models is not None
        bucket = max(self.models.recipe.buckets, key=lambda shape: (shape.frames, shape.pixels))
        prompt, frames = self.prompts[number], bucket.frames
        request = Request(prompt=prompt, height=bucket.height, width=bucket.width, frames=frames, seed=number)
        try:
            return next(generate([request], models=self.models, sampling=self.sampling))
        except UserError as error:
            log.get("dit_video").warning("prompt %d cannot be shown: %s", number, error)
            return None

    def write(self, videos: dict[Path, Frames]) -> None:
        """Write videos; a disk that refuses does not end the run."""
        from dit_video.pipeline import outputs

        assert self.models is not None
        for file, frames in videos.items():
            try:
                outputs.prepare(file)
                outputs.save(file, frames, fps=self.models.recipe.fps)
            except (UserError, OSError) as error:
                log.get("dit_video").warning("%s cannot be written: %s", file, error)


def drawn(texts: Sequence[str]) -> list[str]:
    """A few captions, the same on every rank and whenever the run goes on."""
    places = rng(0, "prompts to show").permutation(len(texts))[:1000].tolist()
    return list(dict.fromkeys(texts[place] for place in places if texts[place]))[:PROMPTS]
