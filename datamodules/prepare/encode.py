"""step=encode: every clip becomes a latent of its bucket, in a sidecar with the shards and keys of the dataset.

- Beside the whole clip (`clip`) stand the latents of its last frames, each encoded as a clip of its own (`tail1`, ...):
  what a suffix is conditioned on must not have seen the frames before it.
- The recipe names the VAE by the hash of its weights; other weights or settings under the same name are an error.
- A shard that stands is not encoded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from datamodules import index
from datamodules.buckets import buckets
from datamodules.pixels import ClipLoader, to_video
from datamodules.prepare import store
from datamodules.prepare.rows import alike, reader
from dit_video import log
from dit_video.errors import ConfigError, DataError
from dit_video.pipeline.load import device_of, load_vae, weights_hash
from dit_video.shapes import Compression

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_TAILS = 4


class Encoder(Protocol):
    """What a VAE must do here; `encode` turns (b, 3, t, h, w) in [-1, 1] into normalised latents (b, c, t', h', w')."""

    @property
    def compression(self) -> Compression:
        """Frames and pixels a latent position stands for."""
        ...

    def encode(self, video: Tensor) -> Tensor:
        """Latents of videos."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """What encoding needs at hand."""

    vae: Encoder
    loader: ClipLoader
    folder: Path
    batch: int
    device: torch.device
    dtype: torch.dtype
    workers: int


def tails_of(frames: int) -> tuple[int, ...]:
    """Latent frames at which a tail starts: all places of a clip of up to four, else four spread evenly."""
    if frames - 1 <= MOST_TAILS:
        return tuple(range(1, frames))
    return tuple(round(place) for place in np.linspace(1, frames - 1, MOST_TAILS))


def agree(path: Path, recipe: Mapping[str, Any]) -> None:
    """Write the recipe, or compare it with the one that stands; ConfigError names the key that differs."""
    if not path.is_file():
        store.write_json(path, recipe)
        return
    saved = index.load_recipe(path.parents[2], path.parent.name)
    for key in (key for key in recipe if key != "vae" and saved.get(key) != recipe[key]):
        what = "vae= has other weights" if key == "vae_hash" else f"{key}={recipe[key]} was {saved.get(key)}"
        raise ConfigError(
            f"{path.parent} was encoded otherwise: {what}; choose another name=NAME, or delete that folder"
        )


def latents_of(job: Job, videos: Sequence[NDArray[np.uint8]]) -> list[dict[str, Tensor]]:
    """Latents of equal-sized videos: the whole clip and its tails."""
    pixels = torch.stack([to_video(video) for video in videos]).to(job.device)
    whole = encoded(job, pixels)
    parts = {"clip": whole}
    for tail in tails_of(whole.shape[2]):
        parts[f"tail{tail}"] = encoded(job, pixels[:, :, tail * job.vae.compression.time :])
    return [{name: part[at].clone() for name, part in parts.items()} for at in range(len(videos))]


def encoded(job: Job, pixels: Tensor) -> Tensor:
    """Latents on the CPU, in the type they are stored in; DataError where they are not finite."""
    with torch.inference_mode():
        latent = job.vae.encode(pixels).float().cpu()
    if not torch.isfinite(latent).all():
        raise DataError("the VAE gives latents that are not finite; train it again, or take an earlier checkpoint")
    return latent.to(job.dtype)


def encode_shard(job: Job, shard: int, rows: Sequence[int]) -> Iterator[int]:
    """Encode the rows of a shard and write tar and index; yields as rows are done."""
    found: dict[int, dict[str, Tensor]] = {}
    for same in alike(job.loader, rows, batch=job.batch, workers=job.workers, what="encoded"):
        found |= zip(same, latents_of(job, [*same.values()]), strict=True)
        yield from same
    keys = {row: job.loader.index.key[row] for row in found}
    data = {row: save(found[row]) for row in sorted(found)}
    members = ({"__key__": keys[row], "safetensors": data[row]} for row in data)
    places, digest = store.write_tar(job.folder / f"{shard:06d}.tar", members)
    table = [
        {"key": keys[row], "tails": [int(name[4:]) for name in found[row] if name.startswith("tail")]}
        | dict(zip(("frames", "height", "width"), found[row]["clip"].shape[1:], strict=True))
        | {"offset": place["safetensors"][0], "size": place["safetensors"][1], "sha256": store.sha256(data[row])}
        for row, place in zip(data, places, strict=True)
    ]
    about = {"tar_sha256": digest}
    store.write_table(job.folder / f"{shard:06d}.parquet", table, schema=latent_schema(), metadata=about)


def latent_schema() -> Any:
    """Columns of latents/NAME/*.parquet."""
    import pyarrow as pa

    whole = [(name, pa.int64()) for name in ("frames", "height", "width")]
    places = [("offset", pa.int64()), ("size", pa.int64()), ("sha256", pa.string())]
    return pa.schema([("key", pa.string()), *whole, ("tails", pa.list_(pa.int64())), *places])


def encode(
    *,
    dataset: str,
    vae: str,
    name: str = "vae",
    sizes: Sequence[str] | None = None,
    pixels: int = 128 * 128,
    frames: int = 17,
    fps: float = 12.0,
    patch: int = 1,
    batch: int = 16,
    dtype: str = "float16",
    device: str = "auto",
    workers: int = 1,
) -> None:
    """Encode the clips of a dataset with a trained VAE into the sidecar latents/NAME.

    Args:
        dataset: folder of a curated dataset.
        vae: folder of the VAE's run, or of one of its checkpoints.
        name: name of the sidecar.
        sizes: buckets as FRAMESxHEIGHTxWIDTH; by default they are generated from `pixels` and `frames`.
        pixels: most pixels of a frame.
        frames: most frames of a clip.
        fps: frames per second that clips are brought to.
        patch: side of the DiT's patches; sizes are multiples of it times the VAE's compression.
        batch: clips encoded at once, of equal size.
        dtype: what latents are stored as: float16, bfloat16 or float32.
        device: where the VAE runs: auto, cpu, cuda, ...
        workers: processes that decode.
    """
    found = index.load(dataset)
    asked = {"sizes": list(sizes)} if sizes else {"pixels": pixels, "frames": frames}
    recipe = Recipe(vae=str(Path(vae).resolve()), buckets=asked | {"patch": patch}, fps=float(fps), dtype=dtype)
    encode_with(load_vae(vae), found, recipe, name=name, batch=batch, device=device_of(device), workers=workers)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is asked of a latent sidecar: the VAE's path, the arguments of the bucket table, the rate, the type."""

    vae: str
    buckets: dict[str, Any]
    fps: float
    dtype: str = "float16"


def encode_with(
    vae: Encoder, found: index.Index, recipe: Recipe, *, name: str, batch: int, device: torch.device, workers: int
) -> None:
    """Encode a dataset with a VAE at hand; as `encode`."""
    kinds = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
    if recipe.dtype not in kinds:
        raise ConfigError(f"dtype={recipe.dtype} must be one of {', '.join(kinds)}")
    if isinstance(vae, torch.nn.Module):
        vae = vae.to(device).eval()
    compression, asked = vae.compression, recipe.buckets
    table = buckets(
        sizes=asked.get("sizes"),
        pixels=asked.get("pixels", 0),
        frames=asked.get("frames", 0),
        time=compression.time,
        multiple=compression.space * asked["patch"],
    )
    folder = Path(found.folder) / "latents" / name
    about = asdict(recipe) | {"vae_hash": weights_hash(vae), "compression": asdict(compression)}
    loader = reader(found, table, recipe.fps)
    about["table"] = [str(shape) for shape in sorted({shape for shape in loader.shapes if shape is not None})]
    agree(folder / "recipe.json", about)
    job = Job(
        vae=vae,
        loader=loader,
        folder=folder,
        batch=batch,
        device=device,
        dtype=kinds[recipe.dtype],
        workers=workers,
    )
    run(job, found)


def run(job: Job, found: index.Index) -> None:
    """Encode the shards that are missing, and say what came out."""
    shapes = job.loader.shapes
    shards: dict[int, list[int]] = {shard: [] for shard in sorted(set(found.shard.tolist()))}
    for row, shape in enumerate(shapes):
        if shape is not None:
            shards[int(found.shard[row])].append(row)
    if not any(shards.values()):
        raise DataError(f"no clip of {found.folder} has as many frames as a bucket; lower frames, or raise fps")
    todo = {shard: rows for shard, rows in shards.items() if not (job.folder / f"{shard:06d}.parquet").is_file()}
    total = sum(map(len, todo.values()))
    log.say(f"encoding {total} of {len(found)} clips, {len(todo)} of {len(shards)} shards, into {job.folder}")
    work = (row for shard, rows in todo.items() for row in encode_shard(job, shard, rows))
    for _ in log.progress(work, what="encode", total=total, unit="clip"):
        pass
    short = sum(shape is None for shape in shapes)
    log.say(f"{len(found) - short} clips have latents, {short} were too short for a bucket -> {job.folder}")
