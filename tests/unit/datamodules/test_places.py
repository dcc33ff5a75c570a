from __future__ import annotations

import torch
from torch.testing import assert_close

from datamodules.places import Extent, filling, laid_out
from dit_video.batch import Layout
from dit_video.ops.layout import Clip, conditioned, join, padding

PATTERNS = [("none", 0), ("first", 1), ("prefix", 3), ("suffix", 2), ("suffix", 4)]


def clip_by_clip(sizes: list[tuple[int, int, int]], patch: int) -> tuple[list[Clip], list[Extent], list[bool]]:
    clips, extents, sound = [], [], []
    for at, (frames, rows, columns) in enumerate(sizes):
        name, cut = PATTERNS[at % len(PATTERNS)]
        cut = min(cut, frames - 1)
        tail = torch.zeros(2, frames - cut, rows * patch, columns * patch) if name == "suffix" else None
        latent = torch.zeros(2, frames, rows * patch, columns * patch)
        sound.append(at % 3 != 1)
        clips.append(conditioned(latent, tail=tail, pattern=name, cut=cut, patch=patch, sound=sound[-1]))
        whole = frames + (tail is not None)
        extents.append(Extent(frames=whole, rows=rows, columns=columns, cut=cut, tail=tail is not None))
        if at % 4 == 3:
            clips.append(padding(at, 2 * patch**2))
            extents.append(filling(at))
            sound.append(True)
    return clips, extents, sound


def test_the_layout_is_that_of_the_clips_joined() -> None:
    sizes = [
        (5, 2, 3),
        (5, 4, 1),
        (6, 3, 3),
        (5, 2, 2),
        (7, 1, 5),
        (1, 3, 2),
        (2, 2, 2),
        (5, 1, 1),
        (5, 3, 2),
        (9, 2, 2),
    ]
    for patch in (1, 2):
        clips, extents, sound = clip_by_clip(sizes, patch)
        _, weight, wanted = join(clips)
        found, weights = laid_out(extents, sound)
        assert_close(weights, weight)
        same(found, wanted)


def same(found: Layout, wanted: Layout) -> None:
    assert found.lengths == wanted.lengths
    for name in ("position", "frame", "sample", "given", "lead"):
        first, second = getattr(found, name), getattr(wanted, name)
        assert first.dtype == second.dtype
        assert torch.equal(first, second), name
