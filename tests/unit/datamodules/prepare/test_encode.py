from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from xxhash import xxh3_128_digest

from datamodules.dataset import index, sidecars
from datamodules.files.shards import Shards
from datamodules.loading.pixels import to_video
from datamodules.prepare import encode, rows
from datamodules.prepare.encode import Recipe, encode_with, tails_of, weights_hash
from datamodules.prepare.rows import reader
from dit_video.errors import ConfigError, DataError
from dit_video.models.vae import VAE
from dit_video.pipeline.load import load_vae
from dit_video.shapes import Compression
from tests.fakes.fake.published import saved
from tests.fakes.fake.saved import VAE_SIZE, lively

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
    latents = sidecars.load_latents(found, "two")
    from datamodules.dataset.buckets import listed

    loader, shards = reader(found, listed(SIZES, time=4, multiple=8), 12.0), Shards()
    for row in range(0, len(found), 5):
        place = {"offset": int(latents.offset[row]), "size": int(latents.size[row]), "sha256": latents.sha256[row]}
        tensors = load(shards.read(found.tar(row, "latents/two"), **place))
        tails = latents.tails[row, : latents.tail_counts[row]]
        tar = Path(found.tar(row, "latents/two")).read_bytes()
        for at, name in enumerate(["clip", *(f"tail{tail}" for tail in tails)]):
            part = tar[latents.places[row, at] :][: tensors[name].nbytes]
            assert part == tensors[name].numpy().tobytes()
            assert xxh3_128_digest(part) == latents.hashes[row, at].tobytes()
        video = to_video(loader.pixels(row))[None]
        assert torch.allclose(tensors["clip"], Pool(2.0).encode(video)[0], atol=1e-6)
        assert sorted(tensors) == sorted(["clip", *(f"tail{tail}" for tail in tails)])
        for tail in tails:
            assert torch.allclose(tensors[f"tail{tail}"], Pool(2.0).encode(video[:, :, 4 * tail :])[0], atol=1e-6)


def test_what_a_clip_becomes_does_not_depend_on_the_clips_beside_it(dataset: Path) -> None:
    found, recipe, shards = index.load(dataset), replace(RECIPE, vae="small"), Path("latents")
    torch.manual_seed(0)
    vae = lively(VAE(**VAE_SIZE))
    encode_with(vae, found, recipe, name="whole", batch=4, device=CPU, workers=0)
    for at in range(3):
        encode_with(vae, found, recipe, name="parts", batch=4, device=CPU, workers=0, part=f"{at}/3")
    tars = sorted(path.name for path in (dataset / shards / "whole").glob("*.tar"))
    assert len(tars) == 8
    for name in tars:
        assert (dataset / shards / "whole" / name).read_bytes() == (dataset / shards / "parts" / name).read_bytes()


def test_a_rerun_encodes_only_what_is_missing(dataset: Path) -> None:
    found, first, again = index.load(dataset), Pool(), Pool()
    encode_with(first, found, RECIPE, name="x", batch=4, device=CPU, workers=0)
    whole = (dataset / "latents" / "x" / "000000.tar").read_bytes()
    encode_with(again, found, RECIPE, name="x", batch=4, device=CPU, workers=0)
    assert (first.calls > 0, again.calls) == (True, 0)
    (dataset / "latents" / "x" / "000000.parquet").unlink()
    encode_with(again, found, RECIPE, name="x", batch=4, device=CPU, workers=1)
    assert 0 < again.calls <= first.calls
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


def test_another_dataset_in_the_folder_is_refused_at_encoding_and_at_training(dataset: Path) -> None:
    encode_with(Pool(), index.load(dataset), RECIPE, name="x", batch=4, device=CPU, workers=0)
    about = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps(about | {"fingerprint": "other"}))
    found = index.load(dataset)
    with pytest.raises(ConfigError, match=r"another dataset in this folder.*name=NAME"):
        encode_with(Pool(), found, RECIPE, name="x", batch=4, device=CPU, workers=0)
    with pytest.raises(DataError, match="encoded from another dataset"):
        sidecars.load_latents(found, "x")


def test_parts_make_the_whole_and_training_waits_for_all(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = index.load(dataset)
    encode_with(Pool(), found, RECIPE, name="x", batch=4, device=CPU, workers=0, part="1/3")
    made = sorted(int(path.stem) for path in (dataset / "latents" / "x").glob("*.parquet"))
    assert made == [shard for shard in range(8) if shard % 3 == 1]
    with pytest.raises(DataError, match=f"lacks {8 - len(made)} shards"):
        sidecars.load_latents(found, "x")
    for part in ("0/3", "2/3"):
        encode_with(Pool(), found, RECIPE, name="x", batch=4, device=CPU, workers=0, part=part)
    assert "all 8 shards stand" in capsys.readouterr().out
    assert sidecars.load_latents(found, "x").frames.tolist() == sidecars.load_latents(found, "vae").frames.tolist()


def test_a_damaged_clip_has_no_latent_and_its_reason_is_kept(dataset: Path) -> None:
    found = index.load(dataset)
    tar = dataset / "clips" / "000003.tar"
    row = int((found.shard == 3).argmax())
    content = bytearray(tar.read_bytes())
    content[int(found.offset[row]) + 50] ^= 255
    tar.write_bytes(bytes(content))
    encode_with(Pool(), found, RECIPE, name="x", batch=4, device=CPU, workers=0, max_bad_fraction=0.1)
    assert [at for at, frames in enumerate(sidecars.load_latents(found, "x").frames) if not frames] == [row]
    assert "not those of the index" in rows.damaged(dataset / "latents" / "x", range(8))[found.key[row]]


def test_a_published_vae_encodes_as_our_own_do(dataset: Path, tmp_path: Path) -> None:
    folder = saved("wan-2.1", tmp_path / "wan")
    encode.encode(dataset=str(dataset), vae=str(folder), name="wan", sizes=SIZES, dtype="float32", workers=0)
    latents = sidecars.load_latents(index.load(dataset), "wan")
    assert latents.recipe["vae"] == str(folder)
    assert latents.recipe["vae_hash"] == encode.weights_hash(load_vae(folder))
    assert latents.recipe["compression"] == {"time": 4, "space": 8, "channels": 4}
    with pytest.raises(ConfigError, match="precision=half"):
        encode.encode(dataset=str(dataset), vae=str(folder), precision="half")
