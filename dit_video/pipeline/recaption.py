"""From frames to words with a trained recaptioner: a word at a time, each step reading only what is new.

`Captioner` is the seam: anything that makes a caption of frames (a vision-language model, say) can stand in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from einops import rearrange
from torch import Tensor

from dit_video.models.text.tokenizer import PAD, START, STOP
from dit_video.seeds import generator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dit_video.models.recaptioner import Recaptioner


class Captioner(Protocol):
    """Says what frames show."""

    def caption(self, frames: NDArray[np.uint8]) -> str:
        """The caption of uint8 frames (t, h, w, 3)."""
        ...


def write(
    model: Recaptioner, video: Tensor, *, max_tokens: int = 64, temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """Captions of video (b, 3, t, h, w) in [-1, 1], each up to its end or `max_tokens` ids.

    Args:
        model: a trained recaptioner.
        video: clips of one size.
        max_tokens: ids of a caption, at most.
        temperature: 0 takes the likeliest id; above, ids are drawn, flatter the higher.
        seed: of the draws; a clip's draws do not depend on the clips beside it.
    """
    sources = [generator(seed, "caption words", place) for place in range(len(video))]
    with torch.inference_mode():
        context, memory = model.context(video), None
        token = torch.full((len(video), 1), START, device=video.device)
        written, done = [], torch.zeros(len(video), dtype=torch.bool, device=video.device)
        for _ in range(max_tokens):
            logits, memory = model.decode(token, context, memory)
            chosen = choose(logits[:, -1], temperature=temperature, sources=sources)
            token = torch.where(done, PAD, chosen)[:, None]
            written.append(token)
            done = done | (chosen == STOP)
            if done.all():
                break
    return model.tokenizer().decode(torch.cat(written, dim=1))


def choose(logits: Tensor, *, temperature: float, sources: Sequence[torch.Generator]) -> Tensor:
    """An id (b,) for each row of logits (b, vocabulary); padding and the start are never words."""
    allowed = logits.float().index_fill(1, torch.tensor([PAD, START], device=logits.device), -torch.inf)
    if temperature <= 0:
        return allowed.argmax(1)
    chances = (allowed / temperature).softmax(1).cpu()
    drawn = [torch.multinomial(row, 1, generator=source) for row, source in zip(chances, sources, strict=True)]
    return torch.cat(drawn).to(logits.device)


class Words:
    """A trained recaptioner as a Captioner.

    Args:
        model: with its vocabulary.
        name: which run it is from, for the record beside each caption.
        settings: what its run read clips with: the run's `datamodules` settings.
    """

    def __init__(self, model: Recaptioner, *, name: str, settings: dict[str, Any]) -> None:
        self.model, self.name, self.settings = model.eval(), name, settings

    def caption(self, frames: NDArray[np.uint8]) -> str:
        """The caption of uint8 frames (t, h, w, 3)."""
        return self.captions([frames])[0]

    def captions(self, clips: Sequence[NDArray[np.uint8]], *, max_tokens: int = 64) -> list[str]:
        """Captions of clips of one size, uint8 (t, h, w, 3) each, in one batch."""
        device = self.model.words.weight.device
        video = torch.stack([torch.from_numpy(clip) for clip in clips]).to(device)
        return write(self.model, rearrange(video, "b t h w c -> b c t h w").float() / 127.5 - 1, max_tokens=max_tokens)


def load(run: str | Path, *, ema: bool = True, device: str | torch.device = "cpu") -> Words:
    """The recaptioner of a run's newest checkpoint, or of one checkpoint; CheckpointError if there is none."""
    from dit_video.pipeline.load import find

    stored = find(run)
    model = stored.models("recaptioner", ema=ema)["recaptioner"].to(device)
    return Words(model, name=stored.name, settings=stored.settings.get("datamodules") or {})  # type: ignore[arg-type]
