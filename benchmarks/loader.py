"""Samples per second through the whole loader, beside bare decoding, bare reads, and the loaders of peers.

    PYTHONPATH=. python benchmarks/loader.py CLIPS [peers=litdata:PYTHON,mosaicml:PYTHON] [rounds=5] [folder=DIR]

CLIPS is a folder of videos: the largest, cut to 2 s, are one corpus, the shapes of the quickstart the other. `pixels`
is ours (read, verify, decode, scale, batch, float32 in the training process) against the same decoding and scaling with
PyAV alone in as many processes, and against peers on the same files, who decode as the bare way does (peer.py).
`latents` is ours (read, verify, pack, float32 and layout in the training process) against two ways of reading in the
same order in as many processes, which hand nothing to another process: `reads` reads a sample's file and makes tensors
of it with safetensors, as one must who does not know where in it they are; `parts` reads of it what ours reads, and
makes nothing of it: a memcpy out of the page cache. `moved` is the floor of any loader that delivers what ours does: it
reads what ours reads, checks it, turns it into tokens, widens them to float32 and copies the layout, with all plans
made before the clock starts and nothing sent between processes. All contestants are started first and then take turns,
so that what else the machine does hits all alike; figures are medians over rounds, samples per second of wall and of
CPU time (all processes of a contestant together).

webdataset runs in this environment. Two need their own: `pip install --no-deps litdata==0.2.76` with torch, numpy, av,
boto3, obstore, filelock, requests, tifffile and lightning-utilities; `pip install --no-deps mosaicml-streaming==0.13.0`
with torch, numpy<2.2, av, transformers<5, xxhash<4, boto3<2 and the clients of clouds it imports. Peers that do not
start are left out with a line. Goals: at least 90 % of bare decoding, at least 95 % of bare reads.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn
from xxhash import xxh3_128_digest

from benchmarks import peer
from benchmarks.contest import Contestant
from benchmarks.results import write
from datamodules.clips import ClipData
from datamodules.dataset import index
from datamodules.latents import LatentData
from datamodules.loading.pixels import available
from datamodules.order.packs import Item, Pack
from datamodules.prepare.curate import curate
from datamodules.prepare.encode import Recipe, encode_with
from datamodules.shapes.corpus import write_corpus
from dit_video import log
from dit_video.media.fit import covering
from dit_video.media.probe import probe
from dit_video.ops.layout import lay
from dit_video.shapes import Compression

WORKERS = (1, 2)
CORPORA: dict[str, dict[str, Any]] = {
    "natural": {"pixels": 65536, "frames": 21, "samples": 24, "length": 8192, "packed": 8000},
    "shapes": {"pixels": 4096, "frames": 17, "samples": 4000, "length": 1024, "packed": 40000},
}
FPS = 12.0
ENDLESS = 10**9


class Pool(nn.Module):
    """Stands in for a VAE: 16 channels, 8 times smaller, 4 frames at a time."""

    compression = Compression(time=4, space=8, channels=16)

    def encode(self, video: Tensor) -> Tensor:
        """(b, 3, 1 + 4k, 8h, 8w) to (b, 16, 1 + k, h, w)."""
        small = nn.functional.avg_pool3d(video, (1, 8, 8)).repeat(1, 6, 1, 1, 1)[:, :16]
        return torch.cat([small[:, :, :1], small[:, :, 1::4]], dim=2)


def make(name: str, source: Path, folder: Path) -> None:
    """The dataset of a corpus with latents, and clips.json, in `folder`."""
    about = CORPORA[name]
    dataset, sizes = folder / "dataset", {"pixels": about["pixels"], "frames": about["frames"]}
    curate(source=str(source), dataset=str(dataset), max_seconds=2.0)
    recipe = Recipe(vae="pool", buckets=sizes | {"patch": 1}, fps=FPS)
    given: dict[str, Any] = {"name": "vae", "batch": 8, "device": torch.device("cpu"), "workers": 1}
    encode_with(Pool(), index.load(str(dataset)), recipe, **given)
    data = clips_of(folder, name, workers=0)
    told = [describe(data, row) for row in data.chosen.rows.tolist()]
    (folder / "clips.json").write_text(json.dumps(told), encoding="utf-8")


def copy_large(source: Path, target: Path) -> None:
    """The videos that are as large as the largest: contestants draw clips each in an order of its own."""
    sizes = {path: probe(path) for path in sorted(source.glob("*.mp4"))}
    most = max(about.height * about.width for about in sizes.values())
    target.mkdir(parents=True)
    for path, about in sizes.items():
        if about.height * about.width == most:
            shutil.copy(path, target)


def clips_of(folder: Path, name: str, *, workers: int) -> ClipData:
    """Ours, in pixels: batches of four."""
    sizes = {"pixels": CORPORA[name]["pixels"], "frames": CORPORA[name]["frames"], "multiple": 8}
    given: dict[str, Any] = {"dataset": str(folder / "dataset"), "batch": peer.BATCH, "packs": 4, "validation": 0.0}
    data = ClipData(**given, **sizes, fps=FPS, images=False, workers=workers)
    data.begin(0, ENDLESS, 0, 1)
    return data


def latents_of(folder: Path, name: str, *, workers: int) -> LatentData:
    """Ours, in latents: a pack a micro-batch."""
    given: dict[str, Any] = {"dataset": str(folder / "dataset"), "length": CORPORA[name]["length"], "packs": 4}
    data = LatentData(**given, validation=0.0, workers=workers)
    data.begin(0, ENDLESS, 0, 1)
    return data


def describe(data: ClipData, row: int) -> dict[str, Any]:
    """What a contestant must know of a clip."""
    found, shape = data.index, data.loader.shape(row)
    native = int(found.height[row]), int(found.width[row])
    member = data.loader.member(row)
    return {
        "key": found.key[row],
        "tar": member.path,
        "offset": member.offset,
        "bytes": member.size,
        "fps": float(found.fps[row]),
        "rate": FPS,
        "frames": shape.frames,
        "spare": max(available(int(found.frames[row]), float(found.fps[row]), FPS) - shape.frames, 0),
        "size": [shape.height, shape.width],
        "covering": covering(native, height=shape.height, width=shape.width),
    }


def pixels(folder: Path, name: str, workers: int, samples: int) -> tuple[float, float, int]:
    """Ours, in pixels."""
    loader = clips_of(folder, name, workers=workers).train_dataloader()
    return peer.timed(lambda: map(keys, loader), samples)


def latents(folder: Path, name: str, workers: int, samples: int) -> tuple[float, float, int]:
    """Ours, in latents."""
    loader = latents_of(folder, name, workers=workers).train_dataloader()
    return peer.timed(lambda: map(keys, loader), samples)


def keys(batch: Any) -> list[str]:
    """The samples of a batch."""
    return [key for key in batch.keys if key]


def reads(folder: Path, name: str, workers: int, samples: int) -> tuple[float, float, int]:
    """Reading the files of latents in the order of ours, making tensors of them, and nothing else."""
    data = latents_of(folder, name, workers=0)
    found, rows = data.latents, [item.row for item in ordered(data, samples)]
    places = [(data.index.tar(row, "latents/vae"), int(found.size[row]), int(found.offset[row])) for row in rows]
    files = {path: Path(path).open("rb") for path, _, _ in places}  # noqa: SIM115 open as long as this process

    def work(number: int, of: int) -> None:
        for path, size, offset in places[number::of]:
            load(os.pread(files[path].fileno(), size, offset))

    return (*peer.shares(work, workers=workers), samples)


def parts(folder: Path, name: str, workers: int, samples: int) -> tuple[float, float, int]:
    """The same of those tensors alone that ours needs, whose places are known: the least that any loader can do."""
    data = latents_of(folder, name, workers=0)
    ours = data.loader
    places = [ours.members(item, ours.wanted(item)) for item in ordered(data, samples)]
    files = {path: Path(path).open("rb") for some in places for path, _, _, _ in some}  # noqa: SIM115

    def work(number: int, of: int) -> None:
        for some in places[number::of]:
            for path, offset, size, _ in some:
                np.frombuffer(os.pread(files[path].fileno(), size, offset), np.float16)

    return (*peer.shares(work, workers=workers), samples)


def moved(folder: Path, name: str, workers: int, samples: int) -> tuple[float, float, int]:
    """The bytes of ours alone: read, checked, turned, widened and laid out, each pack in the process that read it."""
    data = latents_of(folder, name, workers=0)
    ours, packs, count = data.loader, [], 0
    for micro in data.train_dataloader().micros:
        for pack in micro.packs:
            read = [(ours.wanted(item), ours.members(item, ours.wanted(item))) for item in pack.items]
            packs.append((read, [ours.outline(item, sound=True) for item in pack.items]))
            count += len(pack.items)
        if count >= samples:
            break
    files = {path: Path(path).open("rb") for read, _ in packs for _, some in read for path, _, _, _ in some}  # noqa: SIM115

    def work(number: int, of: int) -> None:
        tokens = np.zeros((data.length, data.channels * data.patch**2), np.uint16)
        for read, clips in packs[number::of]:
            first = 0
            for shapes, some in read:
                for shape, (path, offset, size, _) in zip(shapes.values(), some, strict=True):
                    got = os.pread(files[path].fileno(), size, offset)
                    xxh3_128_digest(got)
                    rows = np.frombuffer(got, np.uint16).reshape(shape[0], -1)[:, : len(tokens) - first]
                    cv2.transpose(np.ascontiguousarray(rows), tokens[first : first + rows.shape[1]])
                    first += rows.shape[1]
            torch.from_numpy(tokens).view(torch.float16).float()
            lay(clips)

    return (*peer.shares(work, workers=workers), count)


def ordered(data: LatentData, samples: int) -> list[Item]:
    """The first samples of a run."""
    found: list[Item] = []
    for micro in data.train_dataloader().micros:
        packs: tuple[Pack, ...] = micro.packs
        found += [item for pack in packs for item in pack.items]
        if len(found) >= samples:
            break
    return found[:samples]


def race(contestants: Mapping[str, Contestant], *, samples: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Rates of all contestants who can, in turns: by workers and contestant, medians of wall and of CPU time."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {f"{count} workers": {} for count in WORKERS}
    alive = [name for name, contestant in contestants.items() if contestant.ready]
    for turn in range(rounds + 1):
        for count in WORKERS:
            for name in alive[turn % len(alive) :] + alive[: turn % len(alive)]:
                told = contestants[name].ask(f"{count} {samples}")
                if len(told) != 3:
                    alive.remove(name)
                elif turn:  # the first round warms up
                    found[f"{count} workers"].setdefault(name, []).append(per_second(*map(float, told)))
    for name in sorted(set(contestants) - set(alive)):
        log.say(f"{name} does not run here and is left out")
    return {
        count: {name: [round(median(part), 2) for part in zip(*rates, strict=True)] for name, rates in rows.items()}
        for count, rows in found.items()
    }


def per_second(wall: float, cpu: float, samples: float) -> tuple[float, float]:
    """Samples per second of wall and of CPU time."""
    return samples / wall, samples / cpu


def measure(name: str, folder: Path, peers: Mapping[str, str], *, rounds: int) -> Iterator[tuple[str, Any]]:
    """The figures of a corpus."""
    mine = partial(Contestant, sys.executable, "benchmarks/loader.py")
    about = CORPORA[name]
    for what, base, count in (("pixels", "bare", about["samples"]), ("latents", "reads", about["packed"])):
        racing = {"ours": mine(what, str(folder), name)}
        if what == "pixels":
            others = {"bare": sys.executable, "webdataset": sys.executable} | dict(peers)
            racing |= {
                kind: Contestant(python, "benchmarks/peer.py", kind, str(folder)) for kind, python in others.items()
            }
        else:
            racing |= {kind: mine(kind, str(folder), name) for kind in ("reads", "parts", "moved")}
        try:
            rates = race(racing, samples=count, rounds=rounds)
        finally:
            for contestant in racing.values():
                contestant.end()
        for workers, rows in rates.items():
            shares = {kind: round(rows["ours"][0] / rate[0], 3) for kind, rate in rows.items() if kind != "ours"}
            costs = {kind: round(rows["ours"][1] / rate[1], 3) for kind, rate in rows.items() if kind != "ours"}
            log.say(f"{name} {what}, {workers}: {rows}; ours over {base}: {shares[base]} (CPU {costs[base]})")
            yield (
                f"{name}, {what}, {workers}",
                {"samples/s of [wall, CPU]": rows, "ours over": shares, "ours over, CPU": costs},
            )


def main(arguments: list[str]) -> None:
    """Be one of our contestants, or make the corpora and measure."""
    torch.set_num_threads(1)
    ours: tuple[Callable[..., tuple[float, float, int]], ...] = (pixels, latents, reads, parts, moved)
    named = {made.__name__: made for made in ours}
    if arguments[0] in named:
        peer.serve(partial(named[arguments[0]], Path(arguments[1]), arguments[2]))
        return
    settings = dict(item.split("=", 1) for item in arguments[1:])
    peers = dict(item.split(":", 1) for item in settings.get("peers", "").split(",") if item)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(settings.get("folder", temporary))
        if not (folder / "videos").is_dir():
            write_corpus(out=str(folder / "videos"), videos=600, images=0)
        if not (folder / "large").is_dir():
            copy_large(Path(arguments[0]), folder / "large")
        for name, source in {"natural": folder / "large", "shapes": folder / "videos"}.items():
            if not (folder / name / "clips.json").is_file():
                make(name, source, folder / name)
            figures |= measure(name, folder / name, peers, rounds=int(settings.get("rounds", "5")))
    write("loader", figures)


if __name__ == "__main__":
    np.random.seed(0)
    main(sys.argv[1:])
