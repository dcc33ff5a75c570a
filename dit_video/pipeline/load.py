"""Trained models from the folder of a run: the saved config says what to build, the newest checkpoint its weights."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from dit_video import checkpoint
from dit_video.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omegaconf import DictConfig
    from torch import Tensor, nn

    from dit_video.models.dit import DiT
    from dit_video.models.recaptioner import Recaptioner
    from dit_video.models.text.encoder import TextEncoder
    from dit_video.models.vae import VAE

MODELS = "dit_video.models."


def load_vae(path: str | Path, *, ema: bool = True) -> VAE:
    """The VAE of a run."""
    return _load(Path(path), "vae", ema=ema)["vae"]  # type: ignore[return-value]


def load_recaptioner(path: str | Path, *, ema: bool = True) -> Recaptioner:
    """The recaptioner of a run."""
    return _load(Path(path), "recaptioner", ema=ema)["recaptioner"]  # type: ignore[return-value]


def load_dit(path: str | Path, *, ema: bool = True) -> tuple[DiT, TextEncoder]:
    """The DiT of a run and the text encoder trained with it."""
    models = _load(Path(path), "dit", "text", ema=ema)
    return models["dit"], models["text"]  # type: ignore[return-value]


def settings(path: str | Path) -> DictConfig:
    """The resolved config a run was started with; CheckpointError where the folder is no run."""
    file = Path(path) / "config.yaml"
    if not file.is_file():
        raise CheckpointError(f"{path} is not the folder of a run: it has no config.yaml; expected outputs/runs/NAME")
    cfg = OmegaConf.load(file)
    return cfg  # type: ignore[return-value]


def _load(path: Path, *names: str, ema: bool) -> dict[str, nn.Module]:
    cfg = settings(path)
    found = checkpoint.latest(path / "checkpoints")
    if found is None:
        raise CheckpointError(f"{path} has no checkpoint yet; train it first: python train.py ... run.dir={path}")
    if OmegaConf.select(cfg, f"models.{names[0]}") is None:
        trained = [name for name, node in cfg.models.items() if node is not None]
        raise CheckpointError(f"{path} is a run of {', '.join(trained)}; expected one of {names[0]}")
    weights = checkpoint.weights(found, ema=ema)
    return {name: _fill(build(cfg.models[name]), name, weights, path=found) for name in names}


def build(node: DictConfig) -> nn.Module:
    """The model that a config node names; only classes of dit_video.models are built."""
    settings = OmegaConf.to_container(node, resolve=True)
    assert isinstance(settings, dict)
    target = str(settings.pop("_target_"))
    settings.pop("_partial_", None)
    if not target.startswith(MODELS):
        raise CheckpointError(f"the config names {target}; models are built from {MODELS}* alone")
    module, _, name = target.rpartition(".")
    make: Any = getattr(importlib.import_module(module), name)
    return make(**settings)


def _fill(model: nn.Module, name: str, weights: Mapping[str, Tensor], *, path: Path) -> nn.Module:
    """Load the task's tensors called `name.*` into the model, all of them and no others."""
    mine = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    try:
        model.load_state_dict(mine)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"{path} does not fit the model in its config.yaml: {reason}") from error
    return model.eval().requires_grad_(requires_grad=False)
