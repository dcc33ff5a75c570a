"""A run's folder is all that sampling needs; a run of another model is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.testing import assert_close

from dit_video.errors import CheckpointError
from dit_video.pipeline.generate import Models
from dit_video.pipeline.load import build, load_dit, load_vae


def test_a_vae_comes_back(models: Models, runs: tuple[Path, Path]) -> None:
    vae = load_vae(runs[0])
    video = torch.randn(1, 3, 5, 16, 16)
    assert torch.equal(vae.encode(video), models.vae.encode(video))
    assert not vae.training
    assert not any(p.requires_grad for p in vae.parameters())


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
    with pytest.raises(CheckpointError, match="is a run of dit, text; expected one of vae"):
        load_vae(runs[1])
    with pytest.raises(CheckpointError, match="is a run of vae; expected one of dit"):
        load_dit(runs[0])


@pytest.mark.parametrize("change", ["depth: 2", "width: 32"])
def test_weights_of_another_model_are_refused(runs: tuple[Path, Path], change: str) -> None:
    config = runs[1] / "config.yaml"
    cfg = OmegaConf.load(config)
    cfg.models.dit = OmegaConf.merge(cfg.models.dit, OmegaConf.create(change))
    OmegaConf.save(cfg, config)
    with pytest.raises(CheckpointError, match=r"does not fit the model in its config\.yaml"):
        load_dit(runs[1])


def test_folders_without_a_run_or_a_checkpoint_are_said(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.yaml"):
        load_vae(tmp_path)
    (tmp_path / "config.yaml").write_text((runs[0] / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load_vae(tmp_path)


@pytest.mark.parametrize("target", ["os.system", "dit_video.pipeline.load.build", "subprocess.Popen"])
def test_only_models_are_built(target: str) -> None:
    with pytest.raises(CheckpointError, match=target):
        build(OmegaConf.create({"_target_": target}))
