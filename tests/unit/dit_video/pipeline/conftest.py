"""Tiny random models that sample in milliseconds, and the run folders they would come from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from dit_video import checkpoint
from dit_video.models.dit import DiT
from dit_video.models.text.encoder import TextEncoder
from dit_video.models.text.tokenizer import Tokenizer
from dit_video.models.vae import VAE
from dit_video.pipeline.generate import Models
from dit_video.pipeline.load import weights_hash
from dit_video.pipeline.recipe import Recipe, keep
from dit_video.shapes import VideoShape

VAE_SIZE: dict[str, Any] = {"channels": 4, "widths": [8], "blocks": [1], "time": [4], "space": [8]}
DIT_SIZE: dict[str, Any] = {"channels": 4, "patch": 1, "width": 16, "depth": 1, "heads": 2, "text_width": 8}
TEXT_SIZE: dict[str, Any] = {"vocabulary": 300, "length": 8, "width": 8, "depth": 1, "heads": 2}
BUCKETS = ((9, 16, 16), (5, 16, 16), (9, 16, 24), (5, 24, 24), (1, 8, 8))  # frames, height, width


def lively(model: nn.Module) -> nn.Module:
    """The model with noise on every weight, so that nothing of it is silent."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(requires_grad=False)


@pytest.fixture
def models() -> Models:
    torch.manual_seed(0)
    vae, dit, text = VAE(**VAE_SIZE), DiT(**DIT_SIZE), TextEncoder(**TEXT_SIZE)
    for model in (vae, dit, text):
        lively(model)
    text.set_tokenizer(Tokenizer.train(["a red circle", "a blue square"], size=300))
    buckets = tuple(VideoShape(frames=f, height=h, width=w) for f, h, w in BUCKETS)
    return Models(vae, dit, text, Recipe(buckets=buckets, fps=8.0, compression=vae.compression))


def save(run: Path, nodes: dict[str, dict[str, Any]], parts: dict[str, nn.Module], *, ema: bool = False) -> None:
    """A run's folder as train.py leaves it: the resolved config and one checkpoint."""
    state = {f"{part}.{name}": value for part, model in parts.items() for name, value in model.state_dict().items()}
    averages = {name: value + 1 for name, value in state.items() if value.is_floating_point()} if ema else {}
    config = yaml.safe_dump({"models": {"vae": None, "dit": None, "text": None, "recaptioner": None} | nodes})
    tensors = {"model": state} | ({"ema": averages} if ema else {})
    checkpoint.save(run / "checkpoints", tensors, config=config, fingerprint="none", step=1, samples_seen=4)
    (run / "config.yaml").write_text(config, encoding="utf-8")


@pytest.fixture
def runs(models: Models, tmp_path: Path) -> tuple[Path, Path]:
    """Folders of a VAE's run and of a DiT's run on its latents."""
    vae, dit = tmp_path / "vae", tmp_path / "dit"
    save(vae, {"vae": {"_target_": "dit_video.models.vae.VAE", "_partial_": True, **VAE_SIZE}}, {"vae": models.vae})
    nodes = {
        "dit": {"_target_": "dit_video.models.dit.DiT", "_partial_": True, **DIT_SIZE},
        "text": {"_target_": "dit_video.models.text.encoder.TextEncoder", "_partial_": True, **TEXT_SIZE},
    }
    save(dit, nodes, {"dit": models.dit, "text": models.text}, ema=True)
    recipe = {
        "table": ["x".join(map(str, bucket)) for bucket in BUCKETS],
        "fps": 8.0,
        "compression": asdict(models.recipe.compression),
        "vae": str(vae),
        "vae_hash": weights_hash(models.vae),
    }
    keep(dit, SimpleNamespace(latents=SimpleNamespace(recipe=recipe)))
    return vae, dit
