from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from datamodules.dataset import index
from datamodules.latents import LatentData
from datamodules.loading.tokens import parts
from datamodules.order.packs import Item
from datamodules.prepare.encode import Recipe, encode_with
from dit_video.errors import DataError
from dit_video.ops.layout import conditioned, join, padding
from tests.unit.datamodules.conftest import SIZES, Pool

PATTERNS = {"none": 1.0, "first": 1.0, "prefix": 1.0, "suffix": 1.0}


@pytest.mark.parametrize(("dtype", "patch"), [("float16", 1), ("bfloat16", 2), ("float32", 2)])
def test_a_batch_is_its_clips_joined(dataset: Path, dtype: str, patch: int) -> None:
    sizes = [size for size in SIZES if patch == 1 or "17x" in size]
    recipe = Recipe(vae="fake", buckets={"sizes": sizes, "patch": patch}, fps=12.0, dtype=dtype)
    encode_with(Pool(), index.load(dataset), recipe, name="other", batch=4, device=torch.device("cpu"), workers=0)
    made = LatentData(
        dataset=str(dataset), latents="other", length=320, patch=patch, packs=2, micro=2, conditions=PATTERNS, workers=0
    )
    made.begin(0, 40, 0, 1)
    loader = made.train_dataloader()
    batches = list(loader)
    assert batches
    for batch, micro in zip(batches, loader.micros, strict=True):
        clips = []
        for pack in micro.packs:
            own = [clip_of(made, item) for item in pack.items]
            spare = 320 - sum(len(clip.frame) for clip in own)
            clips += [*own, padding(spare, 3 * patch**2)] if spare else own
        data, weight, layout = join(clips)
        assert torch.equal(batch.data, data)
        assert torch.equal(batch.weight, weight)
        assert batch.layout.lengths == layout.lengths
        assert torch.equal(batch.layout.position, layout.position)
        came = made.loader.make(micro.packs).made
        again = made.loader.finish(came, micro, ())
        assert again.data.data_ptr() != came.data_ptr(), "what it came in is for another"


def clip_of(made: LatentData, item: Item):  # noqa: ANN201
    tensors = load(made.shards.read_all([made.loader.member(item.row)])[0])
    tail = tensors[f"tail{item.cut}"].float() if item.pattern == "suffix" else None
    return conditioned(tensors["clip"].float(), tail=tail, pattern=item.pattern, cut=item.cut, patch=made.patch)


def test_a_latent_that_is_not_what_the_index_says_is_damage(finished: Path) -> None:
    made = LatentData(dataset=str(finished), length=300, packs=4, micro=2, workers=0)
    row = int(np.flatnonzero(made.latents.frames == 5)[0])
    height, width = int(made.latents.height[row]), int(made.latents.width[row])
    for wrong in (torch.zeros(3, 5, height, width + 1), torch.zeros(3, 5, height, width, dtype=torch.float64)):
        data = save({"clip": wrong})
        with pytest.raises(DataError, match="as the index says"):
            made.loader.tensor(data, "clip", (3, 5, height, width))
    with pytest.raises(DataError, match="as the index says"):
        made.loader.tensor(save({"other": wrong}), "clip", (3, 5, height, width))
    for header in (b"", b"\x00" * 8, b"\x02" + b"\x00" * 7 + b"[]", b"\x02" + b"\x00" * 7 + b"{"):
        with pytest.raises(DataError, match="no header"):
            parts(header)
