"""Records of batches move as wholes."""

from __future__ import annotations

import torch

from dit_video.batch import PackBatch, Place
from dit_video.ops.layout import conditioned, join


def test_a_batch_moves_with_all_its_tensors_and_nothing_else_changes() -> None:
    clip = conditioned(torch.randn(2, 3, 2, 2), tail=None, pattern="first", cut=1, patch=1)
    data, weight, layout = join([clip])
    place = Place(step=1, samples_seen=2, micro=0, micros=1, packs=((0, 0),), step_weight=8.0)
    batch = PackBatch(
        data=data,
        weight=weight,
        pack=torch.zeros(12, dtype=torch.int64),
        layout=layout,
        captions=("a",),
        keys=("k",),
        sources=("s",),
        place=place,
    )
    moved = batch.to("meta")
    tensors = [moved.data, moved.weight, moved.pack, moved.layout.position, moved.layout.frame, moved.layout.sample]
    assert all(tensor.is_meta for tensor in [*tensors, moved.layout.given, moved.layout.lead])
    assert (moved.captions, moved.keys, moved.sources, moved.place) == (("a",), ("k",), ("s",), place)
    assert moved.layout.lengths == (12,)
    assert moved.layout.frame.dtype == torch.int64
    assert not batch.data.is_meta
