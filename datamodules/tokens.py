"""Latents of a sidecar as the tokens of packs: what a loader process makes of a planned micro-batch for the DiT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load
from torch.utils.data import Dataset

from datamodules.index import Index, LatentIndex
from datamodules.loader import Loaded
from datamodules.packs import Item
from datamodules.shards import Shards
from datamodules.steps import Micro
from dit_video.batch import PackBatch
from dit_video.errors import DataError
from dit_video.ops.layout import Clip, conditioned, join, padding


@dataclass(frozen=True, kw_only=True)
class PackLoader(Dataset):
    """Makes a PackBatch of a planned micro-batch; used in worker processes."""

    index: Index
    latents: LatentIndex
    shards: Shards
    channels: int
    patch: int
    length: int

    def __getitem__(self, micro: Micro) -> Loaded:
        clips: list[Clip] = []
        number: list[int] = []
        bad: list[tuple[str, str]] = []
        texts, keys, sources = [], [], []
        chosen = iter(micro.captions)
        for place, planned in enumerate(micro.packs):
            start = len(clips)
            for item in planned.items:
                clips.append(self.clip(item, bad))
                texts.append(next(chosen, ""))
                keys.append(self.index.key[item.row])
                sources.append(self.index.source[item.row])
            spare = self.length - sum(len(clip.frame) for clip in clips[start:])
            if spare:
                clips.append(padding(spare, self.channels * self.patch**2))
                for column in (texts, keys, sources):
                    column.append("")
            number += [place] * self.length
        data, weight, layout = join(clips)
        batch = PackBatch(
            data=data,
            weight=weight,
            pack=torch.tensor(number),
            layout=layout,
            captions=tuple(texts),
            keys=tuple(keys),
            sources=tuple(sources),
            place=micro.place,
        )
        return Loaded(batch, tuple(bad), sum(len(planned.items) for planned in micro.packs))

    def clip(self, item: Item, bad: list[tuple[str, str]]) -> Clip:
        """Tokens of one sample; zeros of weight 0, and a line in `bad`, where it is damaged."""
        frames, height, width = (int(getattr(self.latents, name)[item.row]) for name in ("frames", "height", "width"))
        suffix = item.pattern == "suffix"
        try:
            tensors = self.tensors(item.row)
            latent, tail = tensors["clip"].float(), tensors[f"tail{item.cut}"].float() if suffix else None
            sound = latent.shape == (self.channels, frames, height, width)
            if not sound:
                raise DataError(f"a latent of {tuple(latent.shape)} is not of the size in the index")
        except (DataError, KeyError) as error:
            bad.append((self.index.key[item.row], str(error)))
            latent = torch.zeros(self.channels, frames, height, width)
            tail, sound = (latent[:, item.cut :] if suffix else None), False
        about: dict[str, Any] = {"pattern": item.pattern, "cut": item.cut, "patch": self.patch, "sound": sound}
        return conditioned(latent, tail=tail, **about)

    def tensors(self, row: int) -> dict[str, torch.Tensor]:
        """The tensors of a sample; DataError where its bytes are damaged."""
        found = self.latents
        place: dict[str, Any] = {
            "offset": int(found.offset[row]),
            "size": int(found.size[row]),
            "sha256": found.sha256[row],
        }
        return load(self.shards.read(self.index.tar(row, f"latents/{found.name}"), **place))
