from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dit_video.errors import CheckpointError
from dit_video.export import export
from dit_video.pipeline import exported
from dit_video.pipeline.load import find, load_dit, load_vae, weights_hash
from dit_video.pipeline.recipe import read_recipe


def test_an_export_stands_for_its_run(runs: tuple[Path, Path], tmp_path: Path) -> None:
    vae, dit = (tmp_path / "out" / f"{run.name}.safetensors" for run in runs)
    for run, file in zip(runs, (vae, dit), strict=True):
        export(str(run), out=str(file))
    for one, other in zip(load_dit(dit), load_dit(runs[1]), strict=True):
        assert weights_hash(one) == weights_hash(other)
    assert find(dit).name == "dit.safetensors"
    recipe, coder = read_recipe(dit)
    assert recipe == read_recipe(runs[1])[0]
    assert weights_hash(coder.load(str(vae))) == weights_hash(load_vae(runs[0]))
    with pytest.raises(CheckpointError, match="say where it is with vae=RUN"):
        coder.load()
    with pytest.raises(CheckpointError, match="export with weights=raw"):
        load_dit(dit, ema=False)


def test_other_files_are_one_line(runs: tuple[Path, Path], tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "foreign.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 30)
    (tmp_path / "index.safetensors.index.json").write_text('{"weight_map": 3}', encoding="utf-8")
    export(str(runs[0]), out=str(tmp_path / "vae.safetensors"))
    for name in ("foreign", "broken", "absent", "index"):
        with pytest.raises(CheckpointError, match=r"expected what dit_video\.export has written"):
            find(tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match="says nothing of its recipe"):
        read_recipe(tmp_path / "vae.safetensors")
    assert exported.is_exported(Path("a.safetensors"))
    assert not exported.is_exported(Path("outputs/runs/a"))
