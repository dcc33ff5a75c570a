"""What a DiT was trained on, kept in its run's folder as recipe.json: all that sampling needs beside a checkpoint.

- It is the recipe of the latents, written when the run starts.
- The VAE stands in it twice, by its own path and by the one from the run's folder: the run may be moved alone, or with
  its VAE, and be sampled from anywhere.
- What says which VAE it is, is the hash of its weights; any other is refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video.errors import CheckpointError, RequestError
from dit_video.pipeline.exported import is_exported, read
from dit_video.pipeline.pretrained import HUB, absolute
from dit_video.shapes import Compression, VideoShape

if TYPE_CHECKING:
    from dit_video.pipeline.load import Autoencoder

NAME = "recipe.json"
PLACES = ("vae_from_here", "vae")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a DiT was trained on: its buckets, frame rate and the VAE's compression."""

    buckets: tuple[VideoShape, ...]
    fps: float
    compression: Compression

    def longest(self, height: int, width: int) -> int:
        """Most frames of a bucket of this size; RequestError for a size that no bucket has."""
        frames = [b.frames for b in self.buckets if (b.height, b.width) == (height, width)]
        if not frames:
            sizes = sorted({f"{b.width}x{b.height}" for b in self.buckets})
            raise RequestError(
                f"size={width}x{height} is in no bucket of this model; expected one of {', '.join(sizes)}"
            )
        return max(frames)


@dataclass(frozen=True, kw_only=True)
class Coder:
    """The VAE that made the latents: where it may lie, the likeliest first, or its hub name; and its weights' hash."""

    places: tuple[str, ...]
    digest: str

    def load(self, vae: str | None = None, *, precision: str = "float32", tile: int | None = None) -> Autoencoder:
        """The VAE, from the folder `vae` if one is given; CheckpointError where it is not there, or another."""
        from dit_video.pipeline.load import load_vae, weights_hash

        at_hand = (place for place in self.places if place.startswith(HUB) or Path(place).exists())
        found = next(at_hand, None) if vae is None else vae
        if found is None:
            where = " nor at ".join(dict.fromkeys(os.path.normpath(place) for place in self.places))
            raise CheckpointError(f"this model's VAE is not at {where or 'hand'}; say where it is with vae=RUN")
        model = load_vae(found, precision=precision, tile=tile)
        if weights_hash(model) != self.digest:
            raise CheckpointError(
                f"vae={found} has other weights than the VAE this model's latents were made with; "
                "give that one with vae=RUN, or vae=RUN/checkpoints/NAME if it was trained on since"
            )
        return model


def keep(run: Path, datamodule: object) -> None:
    """Write recipe.json into the folder of a run whose data are latents; of other data there is none.

    One that stands and says the same is left, with the places of the VAE it names.
    """
    about = getattr(getattr(datamodule, "latents", None), "recipe", None)
    if about is None or _same(read_json(run / NAME), about):
        return
    vae = absolute(about["vae"])
    places = {"vae": vae} if vae.startswith(HUB) else {"vae": vae, "vae_from_here": os.path.relpath(vae, run.resolve())}
    (run / NAME).write_text(json.dumps(about | places, indent=1) + "\n", encoding="utf-8")


def read_recipe(run: Path) -> tuple[Recipe, Coder]:
    """What the DiT of a run, or of one of its checkpoints, was trained on; CheckpointError where there is no DiT."""
    if is_exported(run):
        folder, about = run, read(run).json("recipe")
        return _made(folder, about)
    folder = run.resolve().parents[1] if (run / "manifest.json").is_file() else run
    if not (folder / NAME).is_file():
        where = f"has no {NAME}, so it is no run of a DiT" if run.is_dir() else "does not exist"
        raise CheckpointError(f"checkpoint={run} {where}; expected outputs/runs/NAME of a DiT")
    return _made(folder, read_json(folder / NAME))


def _made(folder: Path, about: dict[str, Any]) -> tuple[Recipe, Coder]:
    try:
        shapes = [tuple(map(int, text.split("x"))) for text in about["table"]]
        buckets = tuple(VideoShape(frames=f, height=h, width=w) for f, h, w in shapes)
        recipe = Recipe(buckets=buckets, fps=float(about["fps"]), compression=Compression(**about["compression"]))
        beside = [str(folder / about["vae_from_here"])] if "vae_from_here" in about else []
        places = [*beside, os.fspath(about["vae"])] if "vae" in about else []
        return recipe, Coder(places=tuple(places), digest=str(about["vae_hash"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / NAME} is damaged ({error!r}); put latents/NAME/recipe.json of its dataset there again"
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """The object of a JSON file; an empty one where there is none."""
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _same(stored: dict[str, Any], about: dict[str, Any]) -> bool:
    """Whether two recipes say the same but for the places of the VAE."""
    one, other = ({key: value for key, value in item.items() if key not in PLACES} for item in (stored, about))
    known = set(PLACES) <= set(stored) or str(stored.get("vae", "")).startswith(HUB)
    return one == other and known
