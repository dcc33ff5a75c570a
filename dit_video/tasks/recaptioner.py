"""Training the recaptioner: the likelihood of a clip's caption, every id of a caption counting alike."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from dit_video.models.recaptioner.error import caption_error
from dit_video.models.text.tokenizer import Tokenizer, trim
from dit_video.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from dit_video.batch import ClipBatch
    from dit_video.models.recaptioner import Recaptioner


class RecaptionerTask(Task):
    """Trains a recaptioner on ClipBatch.

    Args:
        recaptioner: makes the model.
        optim: makes the optimizer of named parameters.
        length: ids of a caption, at most; longer ones are cut.
    """

    def __init__(
        self,
        *,
        recaptioner: Callable[[], Recaptioner],
        optim: Callable[[list[tuple[str, nn.Parameter]]], torch.optim.Optimizer],
        length: int = 64,
    ) -> None:
        super().__init__()
        self.make, self.optim, self.length = recaptioner, optim, length

    def begin(self) -> None:
        """A new run learns its vocabulary from the captions, a resumed one reads it back."""
        texts = self.trainer.datamodule.texts()  # type: ignore[attr-defined]
        self.recaptioner.set_tokenizer(Tokenizer.train(texts, size=self.recaptioner.words.num_embeddings))

    def build(self) -> None:
        """Make the model, as it is before anything is learnt."""
        self.recaptioner = self.make()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's own, once a checkpoint has been read."""
        return self.recaptioner.tokenizer()

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer and the EMA hold."""
        return dict(self.recaptioner.named_parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer over all parameters."""
        return self.optim(list(self.trained().items()))

    def training_step(self, batch: ClipBatch, index: int) -> dict[str, Any]:
        """Nats per caption over `length`: a sum over ids, so that it adds up over ranks; and nats per id to look at."""
        del index
        place = batch.place
        tokens = trim(self.tokenizer.encode(batch.captions, length=self.length)).to(batch.video.device)
        errors, counts = caption_error(self.recaptioner(batch.video, tokens), tokens)
        share = batch.weight / place.step_weight
        loss = (errors * share).sum() / self.length
        per_id = (errors.detach() / counts * share).sum()
        return {
            "loss": loss * place.micros * self.trainer.world_size,
            "metrics": {"loss": loss.detach(), "loss_per_id": per_id},
        }

    def rehearse(self, batch: ClipBatch) -> Tensor:
        """The loss of a batch whose tensors have sizes alone, its captions as long as can be: for the plan of a run."""
        tokens = torch.zeros(len(batch.video), self.length, dtype=torch.int64, device=batch.video.device)
        return caption_error(self.recaptioner(batch.video, tokens), tokens)[0].sum()
