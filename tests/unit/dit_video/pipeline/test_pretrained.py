"""Published VAEs by path and hub name: safetensors of known classes alone, known by the hash of their weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from dit_video.errors import CheckpointError, ConfigError
from dit_video.models.vae.pretrained import Pretrained
from dit_video.pipeline import generate
from dit_video.pipeline.load import load_vae, weights_hash
from dit_video.pipeline.pretrained import absolute, is_pretrained, open_vae
from tests.fakes.fake.published import FAMILIES, made, saved

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def wan(tmp_path: Path) -> Path:
    return saved("wan-2.1", tmp_path / "wan")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_comes_back(family: str, tmp_path: Path) -> None:
    found = load_vae(saved(family, tmp_path))
    assert isinstance(found, Pretrained)
    assert not found.training
    assert weights_hash(found) == weights_hash(Pretrained(made(family)))
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_of_a_pipeline_only_the_autoencoder_is_read(tmp_path: Path) -> None:
    saved("wan-2.1", tmp_path / "pipe" / "vae")
    (tmp_path / "pipe" / "model_index.json").write_text('{"_class_name": "WanPipeline"}')
    assert is_pretrained(tmp_path / "pipe")
    assert open_vae(tmp_path / "pipe").digest == open_vae(tmp_path / "pipe" / "vae").digest


def test_the_hash_is_that_of_the_stored_weights_and_statistics(wan: Path) -> None:
    whole, half = open_vae(wan), open_vae(wan, precision="bfloat16")
    assert half.dtype == torch.bfloat16
    assert whole.digest == half.digest == weights_hash(half)
    config = json.loads((wan / "config.json").read_text())
    config["latents_mean"][0] += 1
    (wan / "config.json").write_text(json.dumps(config))
    assert open_vae(wan).digest != whole.digest


def test_a_folder_of_another_kind_is_no_pretrained_one(tmp_path: Path) -> None:
    assert not is_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    assert not is_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("no json")
    assert not is_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["AutoencoderKL", "UNet2DModel", "os.system", "Pretrained"])
def test_only_known_classes_are_built(wan: Path, name: str) -> None:
    (wan / "config.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(CheckpointError, match="no video autoencoder known here"):
        load_vae(wan)


def test_pickles_are_not_read(wan: Path) -> None:
    torch.save(made("wan-2.1").state_dict(), wan / "diffusion_pytorch_model.bin")
    (wan / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="other files of weights are not read"):
        load_vae(wan)


def test_damaged_weights_and_those_of_another_config_are_told(wan: Path, tmp_path: Path) -> None:
    other = saved("wan-2.2", tmp_path / "other")
    (wan / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    with pytest.raises(CheckpointError, match=r"cannot be read|does not fit"):
        load_vae(wan)
    (wan / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_vae(wan)


def test_missing_weights_are_told(wan: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(wan / WEIGHTS)
    weights.pop("quant_conv.weight")
    save_file(weights, wan / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"quant_conv\.weight"):
        load_vae(wan)


def test_settings_that_mean_nothing_are_told(wan: Path, runs: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="precision=int8"):
        open_vae(wan, precision="int8")
    with pytest.raises(ConfigError, match="is for VAEs of diffusers"):
        load_vae(runs[0], precision="bfloat16")


def test_a_hub_s_name_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="cannot be had from the hub"):
        open_vae("hub:maker/model")
    kept = cache / "models--maker--model"
    saved("wan-2.1", kept / "snapshots" / ("a" * 40) / "vae")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    assert load_vae("hub:maker/model").compression.channels == 4
    assert open_vae("hub:maker/model@" + "a" * 40).digest == open_vae("hub:maker/model").digest


def test_a_hub_s_name_has_two_parts_and_stays_what_it_is() -> None:
    for name in ("hub:model", "hub:../model", "hub:a/b/c", "hub:a/b@"):
        with pytest.raises(ConfigError, match="names no model"):
            open_vae(name)
    assert absolute("hub:maker/model") == "hub:maker/model"
    assert Path(absolute("runs/vae")).is_absolute()


def test_sampling_encodes_and_decodes_with_it(wan: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    vae = load_vae(wan)
    latents = generate.encode([frames, frames[:1]], vae=vae)
    assert [latent.shape for latent in latents] == [(4, 2, 2, 3), (4, 1, 2, 3)]
    assert [video.shape for video in generate.decode(latents, vae=vae)] == [(5, 16, 24, 3), (1, 16, 24, 3)]
