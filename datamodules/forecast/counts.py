"""What samples cost and how their micro-batches are shaped, for the plan: of latents in packs, and of clips in batches.

- A clip's FLOPs in a pack are the DiT's closed formula, and the text encoder's share; padding is a clip of its own.
- A clip's FLOPs in a batch are counted once a bucket, on meta tensors.
- A hollow batch has the sizes of a real one and no numbers: it is made on meta or fake tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from datamodules.clips import ClipData
from datamodules.latents import LatentData
from datamodules.order.conditions import SUFFIX
from dit_video.batch import ClipBatch, Layout, PackBatch, Place
from dit_video.errors import ConfigError
from dit_video.parallel.rehearsal import forward_flops
from dit_video.shapes import Compression, LatentShape, VideoShape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datamodules.order.packs import Items
    from dit_video.parallel.rehearsal import Task

PLACE = Place(step=0, samples_seen=0, micro=0, micros=1, packs=((0, 0),), step_weight=1.0)


class Counts(Protocol):
    """`shapes` are the buckets that have clips, and `code` (n,) the one of each row of the index, -1 for none.

    `unit` names what a sample's size is counted in; `length` is that of a pack, 0 where packs are not filled up.
    `empty` are buckets that were asked for when the latents were made, and have no clip.
    """

    unit: str
    length: int
    shapes: tuple[VideoShape, ...]
    empty: tuple[str, ...]
    code: NDArray[np.int64]

    def weigh(self, items: Items) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Units, and FLOPs of a forward, of each sample."""
        ...

    def pad(self, spare: NDArray[np.int64]) -> NDArray[np.float64]:
        """FLOPs of a forward over each stretch of padding."""
        ...

    def hollow(self, items: Items) -> Any:
        """A micro-batch like that of a pack of `items`."""
        ...

    def share(self, items: Items) -> NDArray[np.float64]:
        """Which part of the memory of a micro-batch like that of `items` a clip of each bucket takes."""
        ...


class LatentCounts:
    """Latent clips in packs."""

    unit = "tokens"

    def __init__(self, data: LatentData, task: Any) -> None:
        if not hasattr(task, "flops"):
            raise ConfigError(f"run.plan cannot count {type(task).__name__} on latents; set tasks=dit")
        self.data, self.task, self.length = data, task, data.length
        compression = Compression(**data.latents.recipe["compression"])
        found, rows = data.latents, data.chosen.rows
        sizes, code = np.unique(
            np.stack([found.frames, found.height, found.width])[:, rows].T, axis=0, return_inverse=True
        )
        self.code = np.full(len(data.index), -1)
        self.code[rows] = code.reshape(-1)
        self.sizes = [LatentShape(frames=f, height=h, width=w) for f, h, w in sizes.tolist()]
        self.shapes = tuple(size.to_video(compression) for size in self.sizes)
        asked = data.latents.recipe.get("buckets", {}).get("sizes") or ()
        self.empty = tuple(str(name) for name in asked if str(name) not in map(str, self.shapes))

    def frames(self, items: Items) -> NDArray[np.int64]:
        """Latent frames of each sample under its pattern."""
        return self.data.latents.frames[items.row] + (items.pattern == SUFFIX)

    def weigh(self, items: Items) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Tokens and FLOPs of each sample."""
        flops = self.task.flops(tokens=items.tokens, frames=self.frames(items))
        return items.tokens, flops + float(self.text)

    def pad(self, spare: NDArray[np.int64]) -> NDArray[np.float64]:
        """FLOPs of padding: a clip of one frame with an empty caption."""
        flops = self.task.flops(tokens=spare, frames=np.ones_like(spare)) + float(self.text)
        return np.where(spare > 0, flops, 0.0)

    @cached_property
    def text(self) -> int:
        """FLOPs of the text of one clip."""
        one = np.ones(1, np.int64)
        return forward_flops(self.task, lambda: self.pack([1], [1])) - int(self.task.flops(tokens=one, frames=one)[0])

    def hollow(self, items: Items) -> PackBatch:
        """A micro-batch of packs like the one of `items`, filled up."""
        lengths, frames = items.tokens.tolist(), self.frames(items).tolist()
        spare = self.length - sum(lengths)
        if spare:
            lengths, frames = [*lengths, spare], [*frames, 1]
        return self.pack(lengths * self.data.micro, frames * self.data.micro)

    def pack(self, lengths: Sequence[int], frames: Sequence[int]) -> PackBatch:
        """A pack of clips of `lengths` tokens in `frames` latent frames."""
        n, f, names = sum(lengths), sum(frames), ("",) * len(lengths)
        layout = Layout(
            position=torch.empty(n, 3),
            frame=torch.empty(n, dtype=torch.int64),
            sample=torch.empty(f, dtype=torch.int64),
            given=torch.empty(f, dtype=torch.bool),
            lead=torch.empty(f, dtype=torch.bool),
            extent=torch.empty(len(lengths), 2),
            lengths=tuple(lengths),
        )
        return PackBatch(
            data=torch.empty(n, self.data.channels * self.data.patch**2),
            weight=torch.empty(n),
            pack=torch.empty(n, dtype=torch.int64),
            layout=layout,
            captions=names,
            keys=names,
            sources=names,
            place=PLACE,
        )

    def share(self, items: Items) -> NDArray[np.float64]:
        """By tokens."""
        del items
        whole = self.length * self.data.micro
        return np.asarray([size.tokens(self.data.patch) / whole for size in self.sizes])


class ClipCounts:
    """Clips in batches of one bucket; ConfigError for one of `sizes`, given by hand, that no clip falls into."""

    unit = "pixels"
    length = 0
    empty: tuple[str, ...] = ()

    def __init__(self, data: ClipData, task: Task, *, sizes: Sequence[str] | None) -> None:
        self.data, self.task = data, task
        kind, _ = data.kinds
        shapes = data.table.shapes()
        count = np.bincount(kind[data.chosen.rows], minlength=len(shapes))
        empty = [str(shape) for shape, clips in zip(shapes, count, strict=True) if not clips]
        if sizes and empty:
            raise ConfigError(
                f"no clip falls into the bucket{'s' * (len(empty) > 1)} {', '.join(empty)}; "
                "take them out of datamodules.sizes, or give sizes that the clips have"
            )
        used = np.flatnonzero(count)
        self.shapes = tuple(shapes[at] for at in used)
        place = np.full(len(shapes) + 1, -1)
        place[used] = np.arange(len(used))
        self.code = place[kind]

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """FLOPs of a clip of each bucket, as one of a batch."""
        whole = [forward_flops(self.task, partial(self.batch, at)) for at in range(len(self.shapes))]
        return np.asarray(whole) / self.data.batch

    def weigh(self, items: Items) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pixels and FLOPs of each sample."""
        code = self.code[items.row]
        return np.asarray([shape.pixels for shape in self.shapes])[code], self.costs[code]

    def pad(self, spare: NDArray[np.int64]) -> NDArray[np.float64]:
        """Nothing is padded."""
        return np.zeros(len(spare))

    def hollow(self, items: Items) -> ClipBatch:
        """A batch of the bucket of `items`."""
        return self.batch(int(self.code[items.row[0]]))

    def batch(self, bucket: int) -> ClipBatch:
        """A batch of a bucket."""
        shape, clips = self.shapes[bucket], self.data.batch
        names = ("",) * clips
        video = torch.empty(clips, 3, shape.frames, shape.height, shape.width)
        weight = torch.empty(clips)
        return ClipBatch(video=video, weight=weight, captions=names, keys=names, fps=self.data.fps, place=PLACE)

    def share(self, items: Items) -> NDArray[np.float64]:
        """By FLOPs."""
        return self.costs / self.costs[self.code[items.row[0]]] / self.data.batch


def counts(data: Any, task: Any, *, sizes: Sequence[str] | None) -> Counts:
    """How the samples of a datamodule count for a task, whose models must have been built on meta tensors."""
    if isinstance(data, LatentData):
        return LatentCounts(data, task)
    if isinstance(data, ClipData):
        return ClipCounts(data, task, sizes=sizes)
    raise ConfigError(f"{type(data).__name__} has no plan; run.plan needs datamodules=latents or datamodules=clips")
