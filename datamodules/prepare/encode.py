"""step=encode: every clip becomes a latent of its bucket, in a sidecar with the shards and keys of the dataset.

- Beside the whole clip (`clip`) stand the latents of its last frames, each encoded as a clip of its own (`tail1`, ...):
  what a suffix is conditioned on must not have seen the frames before it.
- The recipe names the VAE by the hash of its weights; other weights or settings under the same name are an error.
- A shard that stands is not encoded again. Another process may work at the same sidecar: it takes other shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from einops import rearrange
from safetensors.torch import save
from torch import Tensor
from xxhash import xxh3_128_digest

from datamodules.dataset import index, sidecars
from datamodules.dataset.buckets import Buckets, buckets
from datamodules.loading.pixels import ClipLoader
from datamodules.loading.tokens import parts
from datamodules.prepare import extent, rows, store
from dit_video.errors import DataError
from dit_video.pipeline.load import device_of, load_vae, weights_hash
from dit_video.pipeline.pretrained import absolute
from dit_video.shapes import Compression

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_TAILS = 4
WORDS = {"vae_hash": "vae= has other weights", store.FINGERPRINT: "its clips were of another dataset in this folder"}


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
    """A VAE, where it runs, what its latents are stored as, and where."""

    vae: Encoder
    found: index.Index
    folder: Path
    device: torch.device
    dtype: torch.dtype


def tails_of(frames: int) -> tuple[int, ...]:
    """Latent frames at which a tail starts: all places of a clip of up to four, else four spread evenly."""
    if frames - 1 <= MOST_TAILS:
        return tuple(range(1, frames))
    return tuple(round(place) for place in np.linspace(1, frames - 1, MOST_TAILS))


def latents_of(job: Job, videos: Sequence[NDArray[np.uint8]]) -> list[dict[str, Tensor]]:
    """Latents of equal-sized videos: the whole clip and its tails."""
    sent = torch.stack([torch.from_numpy(video) for video in videos]).to(job.device)  # as bytes: a fourth of the way
    pixels = rearrange(sent, "b t h w c -> b c t h w").float() / 127.5 - 1
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


def write_shard(
    job: Job, shard: int, made: Mapping[int, Mapping[str, Tensor]], damaged: Mapping[int, str] | None = None
) -> None:
    """Write the latents of a shard's rows: the tar, then its table, which says why rows are left out as damaged."""
    keys = job.found.key
    data = {row: save(dict(parts)) for row, parts in made.items()}
    members = ({"__key__": keys[row], "safetensors": data[row]} for row in data)
    places, digest = store.write_tar(job.folder / f"{shard:06d}.tar", members)
    table = [
        {"key": keys[row], "tails": [int(name[4:]) for name in made[row] if name.startswith("tail")]}
        | dict(zip(("frames", "height", "width"), made[row]["clip"].shape[1:], strict=True))
        | {"offset": place["safetensors"][0], "size": place["safetensors"][1], "sha256": store.sha256(data[row])}
        | parts_of(data[row], made[row], place["safetensors"][0])
        for row, place in zip(data, places, strict=True)
    ]
    about = {"tar_sha256": digest} | rows.about(job.found, damaged or {})
    store.write_table(rows.table(job.folder, shard), table, schema=latent_schema(), metadata=about)


def parts_of(data: bytes, made: Mapping[str, Tensor], offset: int) -> dict[str, list[Any]]:
    """Where the tensors of a safetensors file, itself at `offset`, begin in the tar, and their hashes."""
    named = parts(data[: 8 + int.from_bytes(data[:8], "little")])
    begins = {name: named[name].begin for name in made}
    hashes = [xxh3_128_digest(data[begin : begin + made[name].nbytes]) for name, begin in begins.items()]
    return {"part_offsets": [offset + begin for begin in begins.values()], "part_hashes": hashes}


def latent_schema() -> Any:
    """Columns of latents/NAME/*.parquet."""
    import pyarrow as pa

    whole = [(name, pa.int64()) for name in ("frames", "height", "width")]
    places = [("offset", pa.int64()), ("size", pa.int64()), ("sha256", pa.string())]
    return pa.schema([("key", pa.string()), *whole, ("tails", pa.list_(pa.int64())), *places, *sidecars.parts_schema()])


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
    precision: str = "float32",
    tile: int | None = None,
    workers: int = 1,
    part: str = "0/1",
    max_bad_fraction: float = 0.01,
) -> None:
    """Encode the clips of a dataset with a trained VAE into the sidecar latents/NAME.

    Args:
        dataset: folder of a curated dataset.
        vae: folder of the VAE's run, or of one of its checkpoints; or of a VAE of diffusers, or its hub:NAME.
        name: name of the sidecar.
        sizes: buckets as FRAMESxHEIGHTxWIDTH; by default they are generated from `pixels` and `frames`.
        pixels: most pixels of a frame.
        frames: most frames of a clip.
        fps: frames per second that clips are brought to.
        patch: side of the DiT's patches; sizes are multiples of it times the VAE's compression.
        batch: clips encoded at once, of equal size.
        dtype: what latents are stored as: float16, bfloat16 or float32.
        device: where the VAE runs: auto, cpu, cuda, ...
        precision: what a VAE of diffusers computes in: float32, bfloat16 or float16.
        tile: pixels a side of the tiles that it cuts larger frames into, to save memory.
        workers: processes that decode.
        part: i/n does the shards with number % n == i alone, for several machines.
        max_bad_fraction: damaged share of the clips at which the step stops.
    """
    store.share(part, ())
    found = rows.load(dataset)
    asked = {"sizes": list(sizes)} if sizes else {"pixels": pixels, "frames": frames}
    recipe = Recipe(vae=absolute(vae), buckets=asked | {"patch": patch}, fps=float(fps), dtype=dtype)
    encode_with(
        load_vae(vae, precision=precision, tile=tile),
        found,
        recipe,
        name=name,
        batch=batch,
        device=device_of(device),
        workers=workers,
        part=part,
        max_bad_fraction=max_bad_fraction,
    )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is asked of a latent sidecar: the VAE's path, the arguments of the bucket table, the rate, the type."""

    vae: str
    buckets: dict[str, Any]
    fps: float
    dtype: str = "float16"


def encode_with(
    vae: Encoder,
    found: index.Index,
    recipe: Recipe,
    *,
    name: str,
    batch: int,
    device: torch.device,
    workers: int,
    part: str = "0/1",
    max_bad_fraction: float = 0.01,
) -> None:
    """Encode a dataset with a VAE at hand; as `encode`."""
    extent.check_dtype(recipe.dtype)
    if isinstance(vae, torch.nn.Module):
        vae = vae.to(device).eval()
    loader = rows.reader(found, table_of(vae.compression, recipe.buckets), recipe.fps)
    folder = rows.home(found) / "latents" / name
    job = Job(vae=vae, found=found, folder=folder, device=device, dtype=getattr(torch, recipe.dtype))
    stage = rows.Stage(
        found=found,
        folder=folder,
        what="encoded",
        read=loader.pixels,
        guard=loader.guard,
        make=partial(latents_of, job),
        write=partial(write_shard, job),
        batch=batch,
        workers=workers,
        max_bad_fraction=max_bad_fraction,
    )
    usable = [row for row, shape in enumerate(loader.shapes) if shape is not None]
    if not usable:
        raise DataError(f"no clip of {found.folders[0]} has as many frames as a bucket; lower frames, or raise fps")
    store.agree(folder / "recipe.json", about(recipe, vae, loader), skip=("vae",), words=WORDS)
    short = len(found) - len(usable)
    rows.finish(
        stage, usable, part=part, what="encode", rest=f"{short} of {len(found)} clips are too short for a bucket"
    )


def table_of(compression: Compression, asked: Mapping[str, Any]) -> Buckets:
    """The bucket table of a recipe."""
    return buckets(
        sizes=asked.get("sizes"),
        pixels=asked.get("pixels", 0),
        frames=asked.get("frames", 0),
        time=compression.time,
        multiple=compression.space * asked["patch"],
    )


def about(recipe: Recipe, vae: Encoder, loader: ClipLoader) -> dict[str, Any]:
    """What recipe.json says."""
    shapes = sorted({shape for shape in loader.shapes if shape is not None})
    return asdict(recipe) | {
        "vae_hash": weights_hash(vae),
        "compression": asdict(vae.compression),
        "table": [str(shape) for shape in shapes],
        store.FINGERPRINT: rows.fingerprint(loader.index),
    }
