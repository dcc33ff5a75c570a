"""A run's folder is all that sampling needs; a run of another model is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from dit_video.errors import CheckpointError, ConfigError
from dit_video.pipeline.generate import Models
from dit_video.pipeline.load import build, device_of, find, load_dit, load_vae, weights_hash


def test_a_vae_comes_back(models: Models, runs: tuple[Path, Path]) -> None:
    vae = load_vae(runs[0])
    video = torch.randn(1, 3, 5, 16, 16)
    assert torch.equal(vae.encode(video), models.vae.encode(video))
    assert not vae.training
    assert not any(p.requires_grad for p in vae.parameters())


def test_a_vae_by_tiles_is_the_same_vae(runs: tuple[Path, Path]) -> None:
    vae, tiled = load_vae(runs[0]), load_vae(runs[0], tile=16)
    assert (vae.tile, tiled.tile) == (None, 16)  # type: ignore[union-attr]
    video = torch.randn(1, 3, 5, 48, 32)
    torch.testing.assert_close(tiled.encode(video), vae.encode(video), atol=1e-5, rtol=1e-5)


def test_a_dit_comes_back_with_its_text_encoder_raw_or_averaged(models: Models, runs: tuple[Path, Path]) -> None:
    dit, text = load_dit(runs[1], ema=False)
    for mine, saved in ((dit, models.dit), (text, models.text)):
        for name, value in saved.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value), name
    assert_close(text(["a red circle"]), models.text(["a red circle"]))
    dit, text = load_dit(runs[1])
    assert torch.equal(dit.patch_in.weight, models.dit.patch_in.weight + 1)
    assert text.tokenizer.to_json() == models.text.tokenizer.to_json()


def test_a_run_of_something_else_is_said(runs: tuple[Path, Path]) -> None:
    with pytest.raises(CheckpointError, match="is of dit, text; expected the run of a vae"):
        load_vae(runs[1])
    with pytest.raises(CheckpointError, match="is of vae; expected the run of a dit"):
        load_dit(runs[0])


@pytest.mark.parametrize("change", [{"depth": 2}, {"width": 32}])
def test_weights_of_another_model_are_refused(runs: tuple[Path, Path], change: dict[str, int]) -> None:
    stored = find(runs[1])
    stored.settings["models"]["dit"].update(change)
    with pytest.raises(CheckpointError, match=r"does not fit the model in its config\.yaml"):
        stored.models("dit", ema=False)


def test_a_checkpoint_may_stand_for_its_run(runs: tuple[Path, Path]) -> None:
    newest = next((runs[0] / "checkpoints").iterdir())
    assert weights_hash(load_vae(newest)) == weights_hash(load_vae(runs[0]))
    assert find(newest).name == find(runs[0]).name == f"vae@{newest.name}"


def test_a_hash_knows_the_weights_and_nothing_else(models: Models) -> None:
    found = weights_hash(models.vae)
    assert weights_hash(models.vae.train()) == found
    for value in (models.vae.mean, next(models.vae.parameters())):
        value.flatten()[0].add_(1)
        assert weights_hash(models.vae) != found
        found = weights_hash(models.vae)


def test_folders_without_a_run_or_a_checkpoint_are_said(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not the folder of a run"):
        load_vae(tmp_path)
    (tmp_path / "config.yaml").write_text((runs[0] / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load_vae(tmp_path)
    newest = next((runs[0] / "checkpoints").iterdir())
    (newest / "config.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"no readable config\.yaml"):
        load_vae(newest)


def test_devices() -> None:
    assert device_of("cpu").type == "cpu"
    assert device_of("auto").type in {"cpu", "cuda"}
    for name in ("gpu", "cuda:999"):
        with pytest.raises(ConfigError, match=f"device={name} cannot be used"):
            device_of(name)


@pytest.mark.parametrize("target", ["os.system", "dit_video.pipeline.load.build", "subprocess.Popen"])
def test_only_models_are_built(target: str) -> None:
    with pytest.raises(CheckpointError, match=target):
        build({"_target_": target})


@pytest.mark.parametrize("target", ["dit_video.models.nothing.Here", "dit_video.models.dit.DiT"])
def test_models_of_another_version_are_said(target: str) -> None:
    with pytest.raises(CheckpointError, match="was it another version"):
        build({"_target_": target})
