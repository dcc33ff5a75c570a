"""Trained models from the folder of a run: its newest checkpoint has the weights and the config of what to build.

A folder RUN/checkpoints/NAME may stand for the run: then it is that checkpoint; or a file that dit_video.export wrote.
For a VAE may stand a published one (`pipeline.pretrained`).
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from dit_video import checkpoint
from dit_video.errors import CheckpointError, ConfigError
from dit_video.pipeline.exported import Exported, is_exported, read
from dit_video.pipeline.pretrained import is_pretrained, open_vae
from dit_video.pipeline.recipe import NAME as RECIPE
from dit_video.pipeline.recipe import PLACES, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from dit_video.models.dit import DiT
    from dit_video.models.recaptioner import Recaptioner
    from dit_video.models.text.encoder import TextEncoder
    from dit_video.models.vae import VAE
    from dit_video.models.vae.pretrained import Pretrained

    Autoencoder = VAE | Pretrained

MODELS = "dit_video.models."


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A checkpoint of a run, and the resolved settings it was trained with; `verified` if it was found to be sound."""

    path: Path
    settings: dict[str, Any]
    verified: bool = False
    exported: Exported | None = None

    @property
    def name(self) -> str:
        """RUN@CHECKPOINT, for a record."""
        return self.path.name if self.exported else f"{self.path.resolve().parents[1].name}@{self.path.name}"

    def origin(self) -> dict[str, str]:
        """What an export says of where it comes from; nothing of this machine."""
        progress = checkpoint.progress(self.path)
        recipe = read_json(self.path.resolve().parents[1] / RECIPE)
        recipe = {key: value for key, value in recipe.items() if key not in PLACES}
        return {
            "run": self.name,
            "step": str(progress.step),
            "samples_seen": str(progress.samples_seen),
            "fingerprint": progress.fingerprint,
            "config": json.dumps({"models": self.settings.get("models")}),
        } | ({"recipe": json.dumps(recipe)} if recipe else {})

    def models(self, *names: str, ema: bool) -> dict[str, nn.Module]:
        """Models of the task by name, for use; CheckpointError where it has none of the first name."""
        nodes: dict[str, Any] = self.settings.get("models") or {}
        if nodes.get(names[0]) is None:
            trained = ", ".join(name for name, node in nodes.items() if node is not None) or "no model"
            raise CheckpointError(f"{self.path} is of {trained}; expected the run of a {names[0]}")
        if self.exported is None:
            weights = checkpoint.weights(self.path, ema=ema, verified=self.verified)
        else:
            weights = self.exported.weights(ema=ema)
        return {name: _fill(build(nodes[name]), name, weights, path=self.path) for name in names}


def find(path: str | Path) -> Stored:
    """The newest checkpoint of a run, the one that `path` is, or an exported file; CheckpointError for all else."""
    folder = Path(path)
    if is_exported(folder):
        exported = read(folder)
        return Stored(path=folder, settings=exported.settings, exported=exported)
    named = (folder / "manifest.json").is_file()
    found = folder if named else checkpoint.latest(folder / "checkpoints")
    if found is None:
        what = "has no checkpoint yet" if (folder / "config.yaml").is_file() else "is not the folder of a run"
        raise CheckpointError(f"{path} {what}; expected what train.py wrote to run.dir, such as outputs/runs/NAME")
    try:
        settings = OmegaConf.to_container(OmegaConf.load(found / "config.yaml"), resolve=True)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise CheckpointError(f"{found} has no readable config.yaml; take another checkpoint of the run") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{found}/config.yaml names no models; take another checkpoint of the run")
    return Stored(path=found, settings={str(key): value for key, value in settings.items()}, verified=not named)


def load_vae(path: str | Path, *, ema: bool = True, precision: str = "float32", tile: int | None = None) -> Autoencoder:
    """The VAE of a run, or a published one, that in a `precision`; by tiles of so many pixels, if asked for."""
    if is_pretrained(path):
        return open_vae(path, precision=precision, tile=tile)
    if precision != "float32":
        raise ConfigError(f"precision= is for VAEs of diffusers, and vae={path} is none; leave it out")
    vae: VAE = find(path).models("vae", ema=ema)["vae"]  # type: ignore[assignment]
    vae.tile = tile
    return vae


def load_recaptioner(path: str | Path, *, ema: bool = True) -> Recaptioner:
    """The recaptioner of a run."""
    return find(path).models("recaptioner", ema=ema)["recaptioner"]  # type: ignore[return-value]


def load_dit(path: str | Path, *, ema: bool = True) -> tuple[DiT, TextEncoder]:
    """The DiT of a run and the text encoder trained with it."""
    models = find(path).models("dit", "text", ema=ema)
    return models["dit"], models["text"]  # type: ignore[return-value]


def weights_hash(model: object) -> str:
    """SHA-256 over the names and values of a module's weights, or what a model says of them as they were stored."""
    if known := getattr(model, "digest", None):
        return str(known)
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):  # type: ignore[attr-defined]
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def device_of(name: str) -> torch.device:
    """The device of a setting, `auto` being CUDA where there is one; ConfigError where it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device={name} cannot be used: {reason}; expected auto, cpu or cuda") from error


def build(node: Mapping[str, Any]) -> nn.Module:
    """The model that a config node names; only classes of dit_video.models are built."""
    settings = {name: value for name, value in node.items() if not name.startswith("_")}
    target = str(node["_target_"])
    if not target.startswith(MODELS):
        raise CheckpointError(f"the config names {target}; models are built from {MODELS}* alone")
    module, _, name = target.rpartition(".")
    try:
        make: Any = getattr(importlib.import_module(module), name)
        return make(**settings)
    except (ImportError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{target} cannot be built as its run did ({error}); was it another version?") from error


def _fill(model: nn.Module, name: str, weights: Mapping[str, Tensor], *, path: Path) -> nn.Module:
    """Load the task's tensors called `name.*` into the model, all of them and no others."""
    mine = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    try:
        model.load_state_dict(mine)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"{path} does not fit the model in its config.yaml: {reason}") from error
    return model.eval().requires_grad_(requires_grad=False)
