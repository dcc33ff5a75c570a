"""Published autoencoders of `diffusers`, from a folder or the hub: `vae=DIR`, `vae=hub:ORGANISATION/NAME[@REVISION]`.

- The folder is that of the autoencoder, or of a whole pipeline, of which only `vae/` is read.
- Only safetensors are read, and only the classes of `models.vae.pretrained.CLASSES` are built: nothing is unpickled,
  and no code comes with a model.
- What a VAE is called by is the hash of its weights in float32, whatever precision it runs in.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dit_video.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from dit_video.models.vae.pretrained import Pretrained

HUB = "hub:"
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model*.safetensors*"
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MEND = "expected the folder of a run, or of an autoencoder of diffusers, or hub:ORGANISATION/NAME"


def is_pretrained(path: str | Path) -> bool:
    """Whether a setting names a model of diffusers rather than a run of ours."""
    return str(path).startswith(HUB) or place_in(Path(path)) is not None


def place_in(folder: Path) -> Path | None:
    """Where the autoencoder lies in a folder of diffusers; None where it is another folder."""
    return next((place for place in (folder / "vae", folder) if class_of(place / CONFIG)), None)


def class_of(config: Path) -> str:
    """The class that a config of diffusers names; "" where it is none."""
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(found.get("_class_name", "")) if isinstance(found, dict) else ""


def absolute(path: str) -> str:
    """The setting as it is understood from any folder."""
    return path if path.startswith(HUB) else str(Path(path).resolve())


def open_vae(path: str | Path, *, precision: str = "float32", tile: int | None = None) -> Pretrained:
    """The autoencoder, frozen; CheckpointError where there is none, or none that we know.

    Args:
        path: folder, or name on the hub after `hub:`.
        precision: what it computes in: float32, bfloat16 or float16.
        tile: pixels a side of the tiles that larger frames are cut into; None for no tiles.
    """
    if precision not in TYPES:
        raise ConfigError(f"precision={precision} is unknown; expected one of {', '.join(TYPES)}")
    from dit_video.models.vae.pretrained import CLASSES, Pretrained

    folder = fetched(str(path)) if str(path).startswith(HUB) else place_in(Path(path))
    if folder is None:
        raise CheckpointError(f"{path} has no autoencoder; {MEND}")
    name = class_of(folder / CONFIG)
    if name not in CLASSES:
        raise CheckpointError(f"{path} is of {name}, which is no video autoencoder known here: {', '.join(CLASSES)}")
    if not list(folder.glob(WEIGHTS)):
        raise CheckpointError(f"{path} has no {WEIGHTS.replace('*', '')}; other files of weights are not read")
    from dit_video.pipeline.load import weights_hash

    model = built(name, folder, path=str(path))
    digest = weights_hash(Pretrained(model))
    found = Pretrained(model.to(TYPES[precision]), digest=digest, tile=tile)
    return found.eval().requires_grad_(requires_grad=False)


def library() -> Any:
    """The package diffusers, which says what it has to say by its errors alone; ConfigError where it is not there."""
    try:
        import diffusers
    except ImportError as error:
        raise ConfigError(f"this VAE needs diffusers: pip install 'dit-video[pretrained]' ({error})") from error
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return diffusers


def built(name: str, folder: Path, *, path: str) -> torch.nn.Module:
    """The model of a class of diffusers with the weights of a folder, all of them, in float32."""
    diffusers = library()
    if not hasattr(diffusers, name):
        raise ConfigError(f"diffusers {diffusers.__version__} has no {name}; pip install -U diffusers")
    try:
        model, told = getattr(diffusers, name).from_pretrained(
            folder,
            torch_dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise CheckpointError(f"{path} cannot be read as {name}: {reason}") from error
    wrong = [*told.get("missing_keys", ()), *told.get("unexpected_keys", ()), *told.get("mismatched_keys", ())]
    if wrong:
        raise CheckpointError(f"{path} does not fit its config: {wrong[0]} and {len(wrong) - 1} other weights")
    made: torch.nn.Module = model
    return made


def fetched(setting: str) -> Path | None:
    """The folder of a hub's autoencoder; what is not at hand is downloaded, the config first and then the weights."""
    matched = re.fullmatch(r"hub:(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", setting)
    if matched is None:
        raise ConfigError(f"{setting} names no model; expected hub:ORGANISATION/NAME or hub:ORGANISATION/NAME@REVISION")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, revision = matched.groups()
    try:
        root = Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG, f"vae/{CONFIG}"]))
        folder = place_in(root)
        if folder is None:
            return None
        within = "" if folder == root else "vae/"
        snapshot_download(name, revision=revision, allow_patterns=[within + CONFIG, within + WEIGHTS])
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise CheckpointError(f"{setting} cannot be had from the hub: {reason}") from error
    return folder
