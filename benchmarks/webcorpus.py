"""The index of a dataset like one from the web, a million clips by default, without any pixels.

    python benchmarks/webcorpus.py DIR [CLIPS]

What order, packing, balance and the plan of a run are measured on. Clips of web corpora last some seconds (Panda-70M,
arXiv:2402.19479: 8.5 s on average) and are cut to a longest one; so here:

- one sample in five is an image; a clip lasts a log-normal time, median 6 s, spread .6, between 1 and 10 s;
- 16:9 at 1080p, 720p and 360p, 9:16 at 1080p and 720p, 4:3, 1:1 and 2.39:1, with the shares in SIZES;
- latents of a VAE of 4x8x8, frames brought to 16 fps and at most 832x480 pixels, of at most 161 frames.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.dataset.buckets import buckets

SIZES = {  # height, width: share
    (1080, 1920): 0.26,
    (720, 1280): 0.30,
    (360, 640): 0.10,
    (1920, 1080): 0.10,
    (1280, 720): 0.08,
    (480, 640): 0.06,
    (1080, 1080): 0.06,
    (804, 1920): 0.04,
}
IMAGES, FPS, NATIVE = 0.2, 16.0, 24.0
SHARD = 1000
PIXELS, FRAMES, TIME, SPACE, PATCH = 832 * 480, 161, 4, 8, 2
LENGTH = 98_304  # tokens of a pack: one and a half times the longest clip, so that many combinations fit


def columns(clips: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Native sizes and frames, and the sizes of their latents, of `clips` samples."""
    rng = np.random.default_rng(seed)
    size = np.asarray(list(SIZES))[rng.choice(len(SIZES), clips, p=list(SIZES.values()))]
    image = rng.random(clips) < IMAGES
    seconds = np.clip(rng.lognormal(np.log(6), 0.6, clips), 1, 10)
    frames = np.where(image, 1, (seconds * NATIVE).astype(np.int64))
    table = buckets(sizes=None, pixels=PIXELS, frames=FRAMES, time=TIME, multiple=SPACE * PATCH)
    asked = np.stack([np.where(image, 1, (frames * FPS / NATIVE).astype(np.int64)), size[:, 0], size[:, 1]], axis=1)
    kinds, place = np.unique(asked, axis=0, return_inverse=True)
    chosen = [table.choose(frames=int(f), height=int(h), width=int(w)) for f, h, w in kinds]
    latent = np.asarray([(1 + (s.frames - 1) // TIME, s.height // SPACE, s.width // SPACE) for s in chosen if s])
    names = ("latent_frames", "latent_height", "latent_width")
    return {
        "image": image,
        "frames": frames,
        "height": size[:, 0],
        "width": size[:, 1],
        **dict(zip(names, latent[place].T, strict=True)),
    }


def write(folder: Path, clips: int) -> None:
    """Write dataset.json, index/ and latents/vae/ (tables and recipe; no tars)."""
    found = columns(clips)
    fingerprint = hashlib.sha256()
    for name in ("index", "latents/vae"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shards = -(-clips // SHARD)
    for shard in range(shards):
        part = slice(shard * SHARD, min((shard + 1) * SHARD, clips))
        own = {name: column[part] for name, column in found.items()}
        for name, made in (("index", index_table(own, shard)), ("latents/vae", latent_table(own, shard))):
            path = folder / name / f"{shard:06d}.parquet"
            pq.write_table(made, path)
            fingerprint.update(path.read_bytes())
    about = {"format": 2, "shards": shards, "samples": clips, "fingerprint": fingerprint.hexdigest()}
    (folder / "dataset.json").write_text(json.dumps(about))
    compression = {"time": TIME, "space": SPACE, "channels": 16}
    asked = {"pixels": PIXELS, "frames": FRAMES, "patch": PATCH}
    recipe = {"vae": "none", "vae_hash": "none", "buckets": asked, "fps": FPS, "compression": compression}
    (folder / "latents/vae/recipe.json").write_text(json.dumps(recipe | {"dtype": "float16"}))


def keys(count: int, shard: int) -> list[str]:
    """Keys as curate makes them."""
    return [f"{shard:06d}_{at:05d}" for at in range(count)]


def index_table(own: dict[str, np.ndarray], shard: int) -> pa.Table:
    """A shard's rows of the index."""
    n = len(own["image"])
    names, place = keys(n, shard), np.arange(n) * 2_000_000
    fps = np.where(own["image"], 0.0, NATIVE)
    return pa.table(
        {
            "key": names,
            "shard": np.full(n, shard),
            "kind": np.where(own["image"], "image", "video"),
            **{name: own[name] for name in ("frames", "height", "width")},
            "fps": fps,
            "seconds": np.where(own["image"], 0.0, own["frames"] / NATIVE),
            "source": [f"{name}.mp4" for name in names],
            "caption": [f"A caption of some length that describes clip {name} of the corpus." for name in names],
            "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
            "media_name": np.where(own["image"], "jpg", "mp4"),
            "media_offset": place,
            "media_size": np.full(n, 1_900_000),
            "motion": np.random.default_rng(shard).gamma(2, 0.1, n),
        }
    )


def latent_table(own: dict[str, np.ndarray], shard: int) -> pa.Table:
    """A shard's rows of the latent sidecar."""
    n = len(own["image"])
    names = keys(n, shard)
    frames = own["latent_frames"]
    tails = [np.unique(np.linspace(1, count - 1, 4).round().astype(int)) if count > 1 else [] for count in frames]
    return pa.table(
        {
            "key": names,
            "frames": frames,
            "height": own["latent_height"],
            "width": own["latent_width"],
            "tails": pa.array(list(map(list, tails)), pa.list_(pa.int64())),
            "offset": np.arange(n) * 4_000_000,
            "size": np.full(n, 3_900_000),
            "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names],
        }
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
