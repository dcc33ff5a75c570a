"""Small random models in the folders of runs, as train.py leaves them: nothing is learnt, all else is as it will be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from dit_video import checkpoint
from dit_video.models.recaptioner import Recaptioner
from dit_video.models.text.tokenizer import Tokenizer
from dit_video.models.vae import VAE

VAE_SIZE: dict[str, Any] = {"channels": 8, "widths": [16, 32], "blocks": [1, 1], "time": [2, 2], "space": [4, 2]}
WORDS_SIZE: dict[str, Any] = {"width": 64, "depth": 2, "heads": 4, "vocabulary": 300, "slots": 8, "windows": 2}
READ_AS = {"sizes": ["1x48x48", "1x48x72", "1x72x48", "13x48x48", "13x48x72", "13x72x48"], "multiple": 8, "fps": 12.0}


def vae(folder: Path) -> Path:
    """The run of a VAE."""
    torch.manual_seed(0)
    return save(folder, "vae", VAE(**VAE_SIZE), node={"_target_": "dit_video.models.vae.VAE", **VAE_SIZE})


def recaptioner(folder: Path) -> Path:
    """The run of a recaptioner, which writes nonsense."""
    torch.manual_seed(0)
    model = Recaptioner(**WORDS_SIZE)
    model.set_tokenizer(Tokenizer.train(["a red circle", "a blue square"], size=WORDS_SIZE["vocabulary"]))
    node = {"_target_": "dit_video.models.recaptioner.Recaptioner", **WORDS_SIZE}
    return save(folder, "recaptioner", model, node=node)


def save(folder: Path, name: str, model: nn.Module, *, node: dict[str, Any]) -> Path:
    """The run of one model."""
    state = {"model": {f"{name}.{key}": value for key, value in lively(model).state_dict().items()}}
    config = yaml.safe_dump({"models": {name: node | {"_partial_": True}}, "datamodules": READ_AS})
    checkpoint.save(folder / "checkpoints", state, config=config, fingerprint="none", step=1, samples_seen=4)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    return folder


def lively(model: nn.Module) -> nn.Module:
    """The model with noise on every weight, so that nothing of it is silent."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(requires_grad=False)


if __name__ == "__main__":
    vae(Path(sys.argv[1]) / "vae")
    recaptioner(Path(sys.argv[1]) / "words")
