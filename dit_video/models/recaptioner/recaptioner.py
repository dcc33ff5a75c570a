"""The recaptioner: what a clip shows, in words (video encoder and text decoder of arXiv's DALL-E 3 recipe).

- Any size, any number of frames: the encoder looks at a few windows of frames of one short side (`embed.glance`).
- A resampler hands the decoder `slots` tokens, so the cost of a word does not depend on the video.
- The vocabulary's JSON is a buffer: a checkpoint is all that captioning needs, and nothing is unpickled.
- Sizes differ in width, depth and heads only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dit_video.errors import ConfigError
from dit_video.models.recaptioner.block import DecoderBlock, EncoderBlock, Memory, Resampler
from dit_video.models.recaptioner.embed import Embed, fourier
from dit_video.models.recaptioner.init import initialise
from dit_video.models.text.tokenizer import SMALLEST, Tokenizer

BYTES = 64
"""Bytes of JSON kept for each id of the vocabulary."""


class Recaptioner(nn.Module):
    """Logits of each next id of a caption, given a video."""

    def __init__(
        self,
        *,
        width: int = 128,
        depth: int = 1,
        heads: int = 4,
        vocabulary: int = 1024,
        slots: int = 16,
        windows: int = 4,
        side: int = 48,
    ) -> None:
        """Build it, initialised; ConfigError where the numbers do not fit together.

        Args:
            width: of tokens; twice a multiple of heads.
            depth: blocks of the encoder, and of the decoder.
            heads: of every attention.
            vocabulary: ids the decoder can write, at most; at least the bytes.
            slots: tokens that the decoder sees of a video.
            windows: windows of a clip that are looked at, at most.
            side: short side of the frames that are looked at, in pixels.
        """
        super().__init__()
        if width % (2 * heads):
            raise ConfigError(f"models.recaptioner.width must be a multiple of 2 * heads = {2 * heads}, got {width}")
        if vocabulary < SMALLEST:
            raise ConfigError(f"models.recaptioner.vocabulary must be at least {SMALLEST}, got {vocabulary}")
        self.embed = Embed(width=width, windows=windows, side=side)
        self.encoder = nn.ModuleList(EncoderBlock(width=width, heads=heads) for _ in range(depth))
        self.resampler = Resampler(width=width, heads=heads, slots=slots)
        self.words = nn.Embedding(vocabulary, width)
        self.words.weight.matrix = False  # type: ignore[assignment]  # rows are words, to an optimizer of matrices
        self.decoder = nn.ModuleList(DecoderBlock(width=width, heads=heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.width = width
        self.register_buffer("vocabulary", torch.zeros(BYTES * vocabulary, dtype=torch.uint8))
        self.initialise()

    def initialise(self, *, generator: torch.Generator | None = None) -> None:
        """Write initial values, in place."""
        initialise(self, generator=generator)

    def blocks(self) -> list[nn.Module]:
        """The units that sharding, recompute and compile work on."""
        return [*self.encoder, *self.decoder]

    def set_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Carry `tokenizer` from now on; DataError if it has more ids than the model."""
        self.vocabulary.copy_(tokenizer.to_tensor(length=len(self.vocabulary)))

    def tokenizer(self) -> Tokenizer:
        """The tokenizer this model was trained with; DataError if it has none yet."""
        return Tokenizer.from_tensor(self.vocabulary)

    def context(self, video: Tensor) -> Tensor:
        """What the decoder is told of video (b, 3, t, h, w) in [-1, 1]: (b, slots, width)."""
        tokens = self.embed(video)
        for block in self.encoder:
            tokens = block(tokens)
        return self.resampler(tokens)

    def decode(
        self, tokens: Tensor, context: Tensor, memory: tuple[Memory, ...] | None = None
    ) -> tuple[Tensor, tuple[Memory, ...]]:
        """Logits (b, l, vocabulary) after each of `tokens` (b, l), and the memory to go on from.

        With a memory, `tokens` are only the new ones and `context` is not read again.
        """
        past = 0 if memory is None else memory[0].text.keys.shape[2]
        place = torch.arange(past, past + tokens.shape[1], device=tokens.device)
        signal = self.words(tokens) * self.width**0.5
        signal = signal + fourier(place, bands=self.width // 2, longest=2.0**14, shortest=4.0)
        kept = []
        for block, before in zip(self.decoder, memory or [None] * len(self.decoder), strict=True):
            signal, after = block(signal, context, before)
            kept.append(after)
        return F.linear(self.norm(signal), self.words.weight), tuple(kept)

    def forward(self, video: Tensor, tokens: Tensor) -> Tensor:
        """Logits (b, l, vocabulary) of the id that follows each of `tokens` (b, l)."""
        return self.decode(tokens, self.context(video))[0]
