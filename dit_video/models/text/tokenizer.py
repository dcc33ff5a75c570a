"""Captions to ids and back: byte-level BPE trained on the dataset's own captions.

- Lossless up to `normalise`: lower case, NFKC, any run of white space or control characters is one space.
- Byte level, so there is no unknown text; with the default 1,024 ids a small corpus gets whole words.
- `<pad>` 0, `<s>` 1, `</s>` 2, the same in every vocabulary. Text that spells them out is plain text, never a control.
- Training is a pure function of the multiset of captions, so ranks may each train their own and agree.
- A tokenizer is its JSON: one file, or a uint8 tensor (`to_tensor`), so that a model carries its own in a checkpoint.
- `tokenizers` is imported on first use.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from dit_video.errors import DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Core

SPECIAL = ("<pad>", "<s>", "</s>")
PAD, START, STOP = range(3)
SMALLEST = len(SPECIAL) + 256
"""Ids that every vocabulary has: the special ones and the bytes."""
LONGEST = 100_000
"""Characters of one text that are read; the rest could not survive truncation anyway."""


def normalise(text: str) -> str:
    """`text` as the tokenizer sees it: NFKC, lower case, white space and control characters folded to one space."""
    folded = unicodedata.normalize("NFKC", text[:LONGEST]).lower()
    plain = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in folded)
    return " ".join(plain.split())


def trim(ids: Tensor) -> Tensor:
    """`ids` (b, l) without the last columns that are padding in every row."""
    return ids[:, : max(1, int((ids != PAD).sum(1).max()))]


class Tokenizer:
    """A byte-level BPE vocabulary with its encoder and decoder."""

    def __init__(self, text: str) -> None:
        """`text`: the JSON of a vocabulary, as `to_json` writes it. Nothing is parsed before the first use."""
        self._json = text

    @classmethod
    def train(cls, texts: Iterable[str], *, size: int = 1024) -> Self:
        """Learn at most `size` ids from `texts`. The same multiset of texts gives the same vocabulary."""
        from tokenizers import Tokenizer as Core
        from tokenizers import decoders, models, pre_tokenizers, trainers

        if size < SMALLEST:
            raise DataError(f"a vocabulary has at least {SMALLEST} ids, got {size}; raise vocabulary")
        counts = Counter(map(normalise, texts))
        core = Core(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            show_progress=False,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        core.train_from_iterator((text for text in sorted(counts) for _ in range(counts[text])), trainer)
        return cls(core.to_str())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The tokenizer that `to_json` wrote; parsed on first use."""
        return cls(text)

    def to_json(self) -> str:
        """The whole vocabulary as JSON (the format of the `tokenizers` library)."""
        return self._json

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a vocabulary's JSON file; DataError if there is none."""
        path = Path(path)
        if not path.is_file():
            raise DataError(f"no vocabulary at {path}; expected the JSON file that Tokenizer.save wrote")
        return cls(path.read_text(encoding="utf-8"))

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as one JSON file."""
        Path(path).write_text(self._json, encoding="utf-8")

    def to_tensor(self, *, length: int) -> Tensor:
        """The JSON as uint8 (length,), zero-padded: a fixed size, so that it can be a buffer of a model."""
        data = json.dumps(json.loads(self._json), separators=(",", ":")).encode()
        if len(data) > length:
            raise DataError(f"the vocabulary takes {len(data)} bytes, the model keeps {length}; raise vocabulary")
        return torch.tensor(list(data.ljust(length, b"\0")), dtype=torch.uint8)

    @classmethod
    def from_tensor(cls, data: Tensor) -> Self:
        """The tokenizer that `to_tensor` wrote; DataError if the tensor holds none."""
        text = bytes(data.cpu().tolist()).rstrip(b"\0")
        if not text:
            raise DataError("this model has no vocabulary yet; train it, or load a checkpoint of a trained one")
        return cls(text.decode())

    @cached_property
    def _core(self) -> Core:
        from tokenizers import Tokenizer as Core

        try:
            core: Any = Core.from_str(self._json)
        except Exception as error:  # the library raises bare Exception on any malformed JSON
            raise DataError(f"not a vocabulary: {error}; expected the JSON that Tokenizer.save wrote") from error
        if [core.token_to_id(word) for word in SPECIAL] != [PAD, START, STOP]:
            raise DataError(f"not a vocabulary of ours: {', '.join(SPECIAL)} must have the ids 0, 1, 2")
        core.encode_special_tokens = True  # a caption that says "</s>" is text; not kept in the JSON, so set here
        return core

    @property
    def size(self) -> int:
        """Ids in use, special ones included."""
        return int(self._core.get_vocab_size())

    def encode(self, texts: Sequence[str], *, length: int) -> Tensor:
        """`<s> text </s> <pad>...` as int64 (b, length). A text that is cut has no `</s>`."""
        ids = torch.full((len(texts), length), PAD, dtype=torch.int64)
        for row, encoding in zip(ids, self._core.encode_batch([*map(normalise, texts)]), strict=True):
            kept = [START, *encoding.ids, STOP][:length]
            row[: len(kept)] = torch.tensor(kept)
        return ids

    def decode(self, ids: Tensor | Sequence[Sequence[int]]) -> list[str]:
        """Texts of (b, l) ids, each up to its first `</s>`; special ids and ids beyond the vocabulary are dropped."""
        rows = ids.tolist() if isinstance(ids, Tensor) else [*map(list, ids)]
        texts = [row[: row.index(STOP)] if STOP in row else row for row in rows]
        kept = [[i for i in row if len(SPECIAL) <= i < self.size] for row in texts]
        return [text.strip() for text in self._core.decode_batch(kept, skip_special_tokens=True)]
