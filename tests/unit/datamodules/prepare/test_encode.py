from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from datamodules import index
from datamodules.pixels import to_video
from datamodules.prepare import encode
from datamodules.prepare.encode import Recipe, encode_with, tails_of, weights_hash
from datamodules.prepare.rows import reader
from datamodules.shards import Shards
from dit_video.errors import ConfigError
from dit_video.shapes import Compression

SIZES = ["17x32x48", "17x48x32", "9x32x32", "1x32x48", "1x48x32"]
RECIPE = Recipe(vae="fake", buckets={"sizes": SIZES, "patch": 1}, fps=12.0, dtype="float32")
CPU = torch.device("cpu")


class Pool(torch.nn.Module):
    """Means over 8x8 pixels; every fourth frame."""

    compression = Compression(time=4, space=8, channels=3)

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.calls = 0

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return torch.nn.functional.avg_pool3d(video[:, :, ::4], (1, 8, 8)) * self.scale


def test_tails() -> None:
    assert tails_of(1) == ()
    assert tails_of(5) == (1, 2, 3, 4)
    assert tails_of(13) == (1, 5, 8, 12)


def test_clip_and_tails_are_encodings_of_the_pixels(dataset: Path) -> None:
    found = index.load(dataset)
    encode_with(Pool(2.0), found, RECIPE, name="two", batch=3, device=CPU, workers=0)
    latents = index.load_latents(found, "two")
    from datamodules.buckets import listed

    loader, shards = reader(found, listed(SIZES, time=4, multiple=8), 12.0), Shards(latents.folder)
    for row in range(0, len(found), 5):
        place = {"offset": int(latents.offset[row]), "size": int(latents.size[row]), "sha256": latents.sha256[row]}
        tensors = load(shards.read(int(found.shard[row]), **place))
        video = to_video(loader.pixels(row))[None]
        assert torch.allclose(tensors["clip"], Pool(2.0).encode(video)[0], atol=1e-6)
        assert sorted(tensors) == sorted(["clip", *(f"tail{tail}" for tail in latents.tails[row])])
        for tail in latents.tails[row]:
            assert torch.allclose(tensors[f"tail{tail}"], Pool(2.0).encode(video[:, :, 4 * tail :])[0], atol=1e-6)


def test_a_rerun_encodes_only_what_is_missing(dataset: Path) -> None:
    found, first, again = index.load(dataset), Pool(), Pool()
    encode_with(first, found, RECIPE, name="x", batch=4, device=CPU, workers=0)
    whole = (dataset / "latents" / "x" / "000000.tar").read_bytes()
    encode_with(again, found, RECIPE, name="x", batch=4, device=CPU, workers=0)
    assert (first.calls > 0, again.calls) == (True, 0)
    (dataset / "latents" / "x" / "000000.parquet").unlink()
    encode_with(again, found, RECIPE, name="x", batch=4, device=CPU, workers=1)
    assert 0 < again.calls < first.calls
    assert (dataset / "latents" / "x" / "000000.tar").read_bytes() == whole


def test_another_vae_or_recipe_under_the_name_is_refused(dataset: Path) -> None:
    found = index.load(dataset)
    encode_with(Pool(), found, RECIPE, name="x", batch=4, device=CPU, workers=0)
    assert weights_hash(Pool()) == weights_hash(Pool()) != weights_hash(Pool(3.0))
    with pytest.raises(ConfigError, match=r"vae= has other weights.*name=NAME"):
        encode_with(Pool(3.0), found, RECIPE, name="x", batch=4, device=CPU, workers=0)
    other = Recipe(vae="fake", buckets=RECIPE.buckets, fps=6.0, dtype="float32")
    with pytest.raises(ConfigError, match=r"fps=6\.0 was 12\.0"):
        encode_with(Pool(), found, other, name="x", batch=4, device=CPU, workers=0)
    with pytest.raises(ConfigError, match="dtype=int8"):
        encode_with(
            Pool(), found, Recipe(vae="", buckets={}, fps=1, dtype="int8"), name="y", batch=1, device=CPU, workers=0
        )
    assert encode.MOST_TAILS == 4
