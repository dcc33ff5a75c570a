"""Weights of a run as safetensors: `python -m dit_video.export checkpoint=RUN out=FILE.safetensors [weights=ema|raw]`.

- Up to 5 GB are one file; more are FILE-00001-of-0000N.safetensors and FILE.safetensors.index.json, as transformers and
  diffusers have them. Names are those of the run: `dit.*`, `text.*`, `vae.*`, ...
- The header says where they come from, and has all that sampling needs: models, fingerprint, step, recipe; no paths.
- A kill at any moment leaves what was there before, or nothing that can be read; files of two exports are never mixed.
- What served training alone, as a VAE's discriminator, is left out.
- One tensor at a time is in memory. sample.py takes such a file for checkpoint= and vae=.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dit_video import config, log
from dit_video.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    from dit_video.checkpoint import Source

SUFFIX = ".safetensors"
LARGEST = 5_000_000_000  # bytes of tensors in a file
KEYS = ("checkpoint", "out", "weights")
TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def main(arguments: Sequence[str]) -> None:
    """Export as the command line says; a user's mistake is one line and exit code 2."""
    with config.one_line(debug="run.debug=true" in arguments):
        if not arguments or {"--help", "-h"} & set(arguments):
            log.say(str(__doc__))
            return
        given = dict(item.partition("=")[::2] for item in arguments if item != "run.debug=true")
        for key in given:
            if key not in KEYS:
                raise ConfigError(f"there is no {key} in dit_video.export; {config.nearest(key, KEYS)}")
        for key in KEYS[:2]:
            if not given.get(key):
                raise ConfigError(f"{key} is not set; add {key}=VALUE (dit_video.export needs it)")
        log.setup()
        files = export(given["checkpoint"], out=given["out"], weights=given.get("weights", "ema"))
        log.say(f"written: {', '.join(str(file) for file in files)}")


def export(checkpoint: str, *, out: str, weights: str = "ema", largest: int = LARGEST) -> list[Path]:
    """Write the averaged or raw weights of a run's newest checkpoint, or of the one named; the files written."""
    if weights not in {"ema", "raw"}:
        raise ConfigError(f"weights={weights} is unknown; expected ema or raw")
    path = Path(out)
    if path.suffix != SUFFIX:
        raise ConfigError(f"out={out} has another suffix; expected FILE{SUFFIX}")
    from dit_video.checkpoint import Source
    from dit_video.checkpoint.manifest import put
    from dit_video.pipeline.load import find

    stored = find(checkpoint)
    source = Source(stored.path, ema=weights == "ema", verified=stored.verified)
    used = stored.settings.get("models") or {}
    items = {name: item for name, item in source.items.items() if name.partition(".")[0] in used}
    shards = divided(items, largest=largest)
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = stored.origin() | {"format": "pt", "weights": weights}
    count = len(shards)
    index = path.with_name(f"{path.name}.index.json")
    numbered = [path.with_name(f"{path.stem}-{n:05d}-of-{count:05d}{SUFFIX}") for n in range(1, count + 1)]
    files = [*numbered, index] if count > 1 else [path]
    parts = [file.with_name(f".{file.name}.part") for file in files]
    if count > 1:
        origin["export"] = secrets.token_hex(8)  # tells files of two exports apart
    try:
        for part, shard in zip(log.progress(parts[:count], what="exporting", unit="file"), shards, strict=True):
            write(part, shard, source=source, metadata=origin)
        if count > 1:
            sizes = sum(size_of(item) for item in items.values())
            places = {name: file.name for file, shard in zip(numbered, shards, strict=True) for name in shard}
            text = json.dumps({"metadata": {"total_size": sizes}, "weight_map": places}, indent=1) + "\n"
            put(parts[-1], text.encode())
        index.unlink(missing_ok=True)
        for part, file in zip(parts, files, strict=True):
            part.replace(file)
        if count > 1:
            path.unlink(missing_ok=True)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return files


def divided(items: Mapping[str, TensorStorageMetadata], *, largest: int) -> list[list[str]]:
    """Names in order, in stretches of at most `largest` bytes; a tensor that is larger has a file of its own."""
    shards: list[list[str]] = [[]]
    room = largest
    for name in sorted(items):
        size = size_of(items[name])
        if size > room and shards[-1]:
            shards.append([])
            room = largest
        shards[-1].append(name)
        room -= size
    return shards


def size_of(item: TensorStorageMetadata) -> int:
    """Bytes of a tensor."""
    return item.size.numel() * item.properties.dtype.itemsize


def write(file: Path, names: Sequence[str], *, source: Source, metadata: Mapping[str, str]) -> None:
    """Write tensors as one safetensors file, one after the other, and sync it."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        item = source.items[name]
        start, end = end, end + size_of(item)
        header[name] = {
            "dtype": TYPES[str(item.properties.dtype).removeprefix("torch.")],
            "shape": list(item.size),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as target:
        target.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            target.write(raw(source.read([name])[name]))
        target.flush()
        os.fsync(target.fileno())


def raw(tensor: torch.Tensor) -> Any:
    """The values of a tensor as they lie in memory."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1:])
