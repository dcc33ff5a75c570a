"""Where every token of a micro-batch stands, in columns for all its clips at once: `ops.layout` clip by clip is slower.

The same as `join` of `conditioned` and `padding`, which sampling uses; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dit_video.batch import Layout


@dataclass(frozen=True, kw_only=True)
class Extent:
    """A clip of a pack: its latent frames (with those of its tail), rows and columns of patches, and its condition.

    Of a suffix (`tail`) the frames after `cut` are given, else the first `cut` frames. `spare` fills a pack up.
    """

    frames: int
    rows: int
    columns: int
    cut: int = 0
    tail: bool = False
    spare: bool = False

    @property
    def tokens(self) -> int:
        """How many there are."""
        return self.frames * self.rows * self.columns


def filling(tokens: int) -> Extent:
    """What fills a pack up: one given frame."""
    return Extent(frames=1, rows=1, columns=tokens, cut=1, spare=True)


def laid_out(clips: Sequence[Extent], sound: Sequence[bool]) -> tuple[Layout, torch.Tensor]:
    """The layout of clips in a row, and the weight (n,) of their tokens; one that is not `sound` has weight 0."""
    names = ("frames", "rows", "columns", "cut", "tail", "spare")
    table = np.asarray([[getattr(clip, name) for name in names] for clip in clips], np.int64)
    frames, rows, columns, cut, tail, spare = table.T
    sample, place = within(frames)
    after = (tail[sample] > 0) & (place > cut[sample])
    given = np.where(tail[sample] > 0, after, place < cut[sample])
    lead = (place == 0) | (after & (place == cut[sample] + 1))
    frame, token = within((rows * columns)[sample])
    row, column = np.divmod(token, columns[sample][frame])
    position = np.stack([(place - after)[frame], row, column], axis=1).astype(np.float32)
    if spare.any():
        position[spare[sample][frame] > 0] = 0
    weight = ~given & np.asarray(sound)[sample]
    layout = Layout(
        position=torch.from_numpy(position),
        frame=torch.from_numpy(frame),
        sample=torch.from_numpy(sample),
        given=torch.from_numpy(given),
        lead=torch.from_numpy(lead),
        lengths=tuple((frames * rows * columns).tolist()),
    )
    return layout, torch.from_numpy(weight[frame].astype(np.float32))


def within(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For all parts of wholes that have `counts` parts: the number of the whole, and of the part in it."""
    whole = np.repeat(np.arange(len(counts)), counts)
    return whole, np.arange(len(whole)) - (np.cumsum(counts) - counts)[whole]
