"""step=score: how clips look to an image-text model (CLIP, SigLIP), into the sidecar scores/NAME.

- `caption` is the similarity of a clip and its caption, the cosine that filters badly captioned clips.
- A prompt is scored by its similarity; of several, by the probability of the first against the others. So
  prompts.aesthetic=["a good picture","a bad picture"] rates without training (CLIP-IQA, Wang et al. 2022).
- A head of linear layers over unit image vectors gives a rating, as the LAION aesthetic predictor does.
- Every score is the mean over frames spread evenly over the clip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from datamodules.dataset import index, sidecars
from datamodules.files.shards import Shards
from datamodules.loading.guard import Guard
from datamodules.loading.pixels import VIDEO, reduced
from datamodules.prepare import extent, rows, store
from datamodules.prepare.imagetext import ImageText, Preparation, load
from dit_video.errors import ConfigError
from dit_video.media.image import read_image
from dit_video.media.read import pick
from dit_video.pipeline.load import device_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAPTION, HEAD = "caption", "rating"
WORDS = {"model_hash": "model= has other weights", store.FINGERPRINT: "for another dataset in this folder"}
Layers = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Reads pictures of rows: `count` frames of a clip, one of an image, in the model's size."""

    found: index.Index
    shards: Shards
    count: int
    prepare: Preparation
    guard: Guard = field(default_factory=Guard)

    def read(self, row: int) -> NDArray[np.uint8]:
        """Pictures of a row, uint8 (t, h, w, 3); DataError where it is damaged."""
        found = self.found
        data = self.shards.read(
            found.tar(row), offset=int(found.offset[row]), size=int(found.size[row]), sha256=found.sha256[row]
        )
        with self.guard.sample():
            return self.decoded(row, data)

    def decoded(self, row: int, data: bytes) -> NDArray[np.uint8]:
        """Pictures of a row in its bytes."""
        found = self.found
        if found.suffix[row] != VIDEO:
            return self.prepare.fit(read_image(data))[None]
        step = max(float(found.seconds[row]), 1e-3) / self.count
        fit = partial(reduced, height=2 * self.prepare.height, width=2 * self.prepare.width)  # then as the model wants
        images = pick(data, fps=1 / step, start=step / 2, count=self.count, fit=fit)
        return np.stack([self.prepare.fit(image) for image in images])


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is scored: captions by row, prompts by the name of their column, the layers of a head."""

    model: ImageText
    found: index.Index
    folder: Path
    captions: Sequence[str | None] | None
    prompts: Mapping[str, Tensor] = field(default_factory=dict)
    head: Layers = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Names of the scores."""
        return [*([CAPTION] if self.captions is not None else []), *self.prompts, *([HEAD] if self.head else [])]

    def describe(self, videos: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
        """Unit vectors (t, d) of the frames of videos of one size."""
        vectors = self.model.pictures(np.concatenate(videos))
        return list(vectors.split([len(video) for video in videos]))

    def scores(self, made: Mapping[int, Tensor]) -> dict[str, list[float | None]]:
        """Scores of rows by column."""
        vectors = [*made.values()]
        found: dict[str, list[float | None]] = {}
        if self.captions is not None:
            texts = {row: text for row in made if (text := self.captions[row])}
            known = dict(zip(texts, self.model.texts([*texts.values()]), strict=True)) if texts else {}
            found[CAPTION] = [float((made[row] @ known[row]).mean()) if row in known else None for row in made]
        for name, prompt in self.prompts.items():
            alike = [vector @ prompt.T for vector in vectors]
            chance = [(each * self.model.scale).softmax(-1) if each.shape[1] > 1 else each for each in alike]
            found[name] = [float(each[:, 0].mean()) for each in chance]
        if self.head:
            found[HEAD] = [float(rate(self.head, vector).mean()) for vector in vectors]
        return found

    def write(self, shard: int, made: Mapping[int, Tensor], damaged: Mapping[int, str]) -> None:
        """Write the scores of a shard's rows."""
        import pyarrow as pa

        found = self.scores(made)
        keys = [self.found.key[row] for row in made]
        listed = [{"key": key} | {name: found[name][at] for name in found} for at, key in enumerate(keys)]
        schema = pa.schema([("key", pa.string()), *((name, pa.float64()) for name in self.columns)])
        about = rows.about(self.found, damaged)
        store.write_table(rows.table(self.folder, shard), listed, schema=schema, metadata=about)


def rate(head: Layers, vectors: Tensor) -> Tensor:
    """What linear layers make of unit vectors (t, d): (t,)."""
    for weight, bias in head:
        vectors = vectors @ weight.T + bias
    return vectors[:, 0]


def load_head(path: str, width: int) -> Layers:
    """The linear layers of a safetensors file, in order; ConfigError where they do not lead from `width` to 1."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"head={path} cannot be read: {error}; expected a safetensors file of linear layers"
        ) from error
    names = sorted(
        (name.removesuffix("weight") for name in tensors if name.endswith("weight")),
        key=lambda name: [int(number) for number in re.findall(r"\d+", name)],
    )
    layers = [(tensors[f"{name}weight"].float(), tensors.get(f"{name}bias", torch.zeros(1)).float()) for name in names]
    sizes = [width, *(weight.shape[0] for weight, _ in layers)]
    takes = [weight.shape[-1] for weight, _ in layers]
    if not layers or takes != sizes[:-1] or sizes[-1] != 1:
        raise ConfigError(
            f"head={path} has layers of {takes} to {sizes[1:]}; expected {width} to 1, the model's vectors"
        )
    return layers


def load_prompts(model: ImageText, prompts: Mapping[str, Any]) -> dict[str, Tensor]:
    """Unit vectors (k, d) of the texts of each prompt; ConfigError for names that no column can have."""
    found = {}
    for name, value in prompts.items():
        texts = [value] if isinstance(value, str) else list(value or ())
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"prompts.{name} must be a text, or a list of texts of which the first is wanted")
        if name in {"key", CAPTION, HEAD} or not str(name).isidentifier():
            raise ConfigError(f"prompts.{name} cannot name a score; use letters and digits, not {CAPTION} or {HEAD}")
        found[str(name)] = model.texts(texts)
    return found


def score(
    *,
    dataset: str,
    model: str,
    name: str = "clip",
    captions: str | None = "source",
    prompts: Mapping[str, Any] | None = None,
    head: str | None = None,
    frames: int = 4,
    batch: int = 32,
    device: str = "auto",
    workers: int = 1,
    part: str = "0/1",
    max_bad_fraction: float = 0.01,
) -> None:
    """Score the clips of a dataset by an image-text model of transformers, into the sidecar scores/NAME.

    Args:
        dataset: folder of a curated dataset.
        model: folder of a CLIP or SigLIP model as transformers saves it, or its name on the hub.
        name: name of the sidecar.
        captions: name of the captions that clips are compared with, as `caption`; null for none.
        prompts: texts by the name of their score; of a list, the probability of the first one.
        head: a safetensors file of linear layers over the model's unit image vectors, scored as `rating`.
        frames: frames of a clip that scores are averaged over.
        batch: clips scored at once.
        device: where the model runs: auto, cpu, cuda, ...
        workers: processes that decode.
        part: i/n does the shards with number % n == i alone, for several machines.
        max_bad_fraction: damaged share of the clips at which the step stops.
    """
    extent.check_score(name=name, frames=frames, captions=captions, prompts=prompts, head=head)
    store.share(part, ())
    found = rows.load(dataset)
    texts = None if captions is None else sidecars.load_captions(found, captions)
    clip = load(model, device=device_of(device))
    width = clip.texts(["a"]).shape[1]
    job = Job(
        model=clip,
        found=found,
        folder=rows.home(found) / "scores" / name,
        captions=texts,
        prompts=load_prompts(clip, prompts or {}),
        head=[] if head is None else load_head(head, width),
    )
    recipe: dict[str, Any] = {
        "model": model,
        "model_hash": clip.hash,
        "captions": captions,
        "prompts": dict(prompts or {}),
    }
    recipe |= {"head": None if head is None else store.sha256(Path(head).read_bytes()), "frames": frames}
    recipe |= {store.FINGERPRINT: rows.fingerprint(found)}
    store.agree(job.folder / "recipe.json", recipe, skip=("model",), words=WORDS)
    pictures = Frames(found=found, shards=Shards(), count=frames, prepare=clip.prepare)
    stage = rows.Stage(
        found=found,
        folder=job.folder,
        what="scored",
        read=pictures.read,
        guard=pictures.guard,
        make=job.describe,
        write=job.write,
        batch=batch,
        workers=workers,
        max_bad_fraction=max_bad_fraction,
    )
    rows.finish(stage, range(len(found)), part=part, what="score", rest=f"scores: {', '.join(job.columns)}")
