"""The recipe beside the checkpoints: written for latents alone, and the VAE it names is that one and no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dit_video.errors import CheckpointError
from dit_video.pipeline.generate import Models
from dit_video.pipeline.load import load_vae, weights_hash
from dit_video.pipeline.recipe import keep, read_recipe
from tests.fakes.fake.published import saved
from tests.unit.dit_video.pipeline.conftest import VAE_SIZE, save

VAE_NODE: dict[str, Any] = {"vae": {"_target_": "dit_video.models.vae.VAE", "_partial_": True, **VAE_SIZE}}


def test_what_is_kept_is_read(runs: tuple[Path, Path], models: Models) -> None:
    recipe, coder = read_recipe(runs[1])
    assert recipe == models.recipe
    assert weights_hash(coder.load()) == coder.digest == weights_hash(models.vae)
    newest = next((runs[1] / "checkpoints").iterdir())
    assert read_recipe(newest)[0] == recipe


def test_data_without_latents_have_none(tmp_path: Path) -> None:
    keep(tmp_path, SimpleNamespace())
    assert list(tmp_path.iterdir()) == []


def test_runs_are_moved_together_or_the_dit_alone(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs[1], tmp_path / "other" / "dit")
    assert read_recipe(tmp_path / "other/dit")[1].load()
    for run in runs:
        shutil.move(run, tmp_path / "elsewhere" / run.name)
    assert read_recipe(tmp_path / "elsewhere/dit")[1].load()
    with pytest.raises(CheckpointError, match="say where it is with vae=RUN"):
        read_recipe(tmp_path / "other/dit")[1].load()
    assert read_recipe(tmp_path / "other/dit")[1].load(str(tmp_path / "elsewhere/vae"))
    monkeypatch.chdir(tmp_path / "elsewhere/dit/checkpoints")
    assert read_recipe(next(Path().iterdir()))[1].load()


def test_a_resumed_run_keeps_what_stands(runs: tuple[Path, Path], tmp_path: Path) -> None:
    file = runs[1] / "recipe.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    latents = {key: value for key, value in about.items() if key != "vae_from_here"} | {"vae": "gone"}
    text = file.read_text(encoding="utf-8")
    keep(runs[1], SimpleNamespace(latents=SimpleNamespace(recipe=latents)))
    assert file.read_text(encoding="utf-8") == text
    for stale in ("{", text.replace("8.0", "9.0")):
        file.write_text(stale, encoding="utf-8")
        keep(runs[1], SimpleNamespace(latents=SimpleNamespace(recipe=latents | {"vae": str(runs[0])})))
        assert file.read_text(encoding="utf-8") == text


def test_another_vae_is_refused_by_its_weights(runs: tuple[Path, Path], models: Models, tmp_path: Path) -> None:
    coder = read_recipe(runs[1])[1]
    shutil.copytree(runs[0], tmp_path / "copy")
    assert coder.load(str(tmp_path / "copy"))
    models.vae.mean.add_(0.1)
    save(tmp_path / "other", VAE_NODE, {"vae": models.vae})
    with pytest.raises(CheckpointError, match=r"vae=.*/other has other weights .* vae=RUN"):
        coder.load(str(tmp_path / "other"))
    shutil.rmtree(runs[0])
    shutil.move(tmp_path / "other", runs[0])
    with pytest.raises(CheckpointError, match="has other weights"):
        coder.load()


@pytest.mark.parametrize(
    "change", [{"table": 3}, {"fps": "fast"}, {"compression": {}}, {"vae": None}, {"table": ["1x2"]}]
)
def test_a_damaged_one_is_said(runs: tuple[Path, Path], change: dict[str, Any]) -> None:
    file = runs[1] / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"recipe\.json is damaged"):
        read_recipe(runs[1])


def test_what_is_no_run_of_a_dit_is_said(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run of a DiT"):
        read_recipe(runs[0])
    with pytest.raises(CheckpointError, match="does not exist"):
        read_recipe(tmp_path / "nowhere")


def test_a_published_vae_is_found_by_its_folder_or_its_hub_name_and_known_by_its_weights(tmp_path: Path) -> None:
    folder = saved("wan-2.1", tmp_path / "wan")
    about = {"table": ["5x16x16"], "fps": 8.0, "compression": {"time": 4, "space": 8, "channels": 4}}
    for number, vae in enumerate((str(folder), "hub:maker/model")):
        run = tmp_path / f"run{number}"
        run.mkdir()
        recipe = about | {"vae": vae, "vae_hash": weights_hash(load_vae(folder))}
        for _ in range(2):
            keep(run, SimpleNamespace(latents=SimpleNamespace(recipe=recipe)))
        coder = read_recipe(run)[1]
        assert coder.places[-1] == vae
        found = coder.load(str(folder), precision="bfloat16")
        assert found.compression.channels == 4
        if number == 0:
            assert torch.equal(coder.load().std, found.std)
    with pytest.raises(CheckpointError, match="other weights"):
        coder.load(str(saved("wan-2.2", tmp_path / "other")))
