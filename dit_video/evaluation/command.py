"""The command behind `python -m dit_video.evaluation`: VAEs and clips in, evaluation.json and evaluation.html out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.dataset import index
from datamodules.files import storage
from datamodules.files.shards import Shards
from dit_video import log
from dit_video.errors import ConfigError, DataError
from dit_video.evaluation.clips import Clip, Cut, in_folder
from dit_video.pipeline.request import parse_size
from dit_video.seeds import seed_for

if TYPE_CHECKING:
    from dit_video.evaluation.measure import Subject


def evaluate(
    *,
    vae: str | Sequence[str],
    source: str,
    out: str = "outputs/evaluation",
    size: str | None = None,
    fps: float | None = None,
    frames: int = 33,
    start: float = 0.0,
    clips: int = 32,
    validation: float = 0.02,
    lpips: str | None = None,
    fvd: str | None = None,
    shown: int = 6,
    ema: bool = True,
    device: str = "auto",
    precision: str = "float32",
    tile: int | None = None,
) -> None:
    """How well VAEs give back videos that they are given.

    Args:
        vae: the run of a VAE, an exported file, a folder of diffusers or hub:ORGANISATION/NAME; or several: [A,B].
        source: a folder of videos and pictures, one file, or a curated dataset, of which held-out clips are taken.
        out: folder for evaluation.json, evaluation.html and the videos.
        size: WIDTHxHEIGHT that frames are scaled to cover and cropped to; by default their own.
        fps: frames a second that videos are brought to; by default their own.
        frames: most frames of a clip.
        start: share of a video that is passed over: 0.7 takes the last 30 %.
        clips: most clips.
        validation: share of a dataset that its trainings held out.
        lpips: AlexNet's weights (.safetensors or .pth of torchvision), for LPIPS.
        fvd: a TorchScript of I3D, or a folder of a VideoMAE, for the Fréchet video distance.
        shown: of the worst clips on the page, and of the best.
        ema: averaged weights of a run.
        device: auto, cpu, cuda, ...
        precision: what VAEs of diffusers compute in: float32, bfloat16 or float16.
        tile: pixels a side of the tiles that VAEs cut larger frames into, to save memory.
    """
    paths = [vae] if isinstance(vae, str) else [str(path) for path in vae]
    if not paths:
        raise ConfigError("vae=[] names no VAE; add vae=RUN")
    cut = Cut(frames=frames, fps=fps, size=None if size is None else parse_size(size), start=start)
    check(cut, clips=clips, shown=shown)
    found = of_dataset(source, most=clips, validation=validation) if is_dataset(source) else of_folder(source, clips)
    import torch

    from dit_video.evaluation import fvd as distance
    from dit_video.evaluation import lpips as perceptual
    from dit_video.evaluation.measure import measure
    from dit_video.evaluation.page import write_page
    from dit_video.evaluation.table import table
    from dit_video.pipeline.load import device_of

    place = device_of(device)
    perceives = perceptual.load(lpips).to(place) if lpips else None
    network = distance.load(fvd, device=place) if fvd else None
    if lpips is None:
        log.say("LPIPS is left out; lpips=FILE names the weights of AlexNet")
    if fvd is None:
        log.say("the Fréchet video distance is left out; fvd=FILE names an I3D, fvd=DIR a VideoMAE")
    subjects = opened(named(paths), ema=ema, precision=precision, tile=tile)
    for item in subjects:
        if isinstance(item.vae, torch.nn.Module):
            item.vae.to(place)
        item.features = distance.Features(network) if network else None
    originals = distance.Features(network) if network else None
    log.say(f"{len(found)} clips of {source} through {', '.join(item.name for item in subjects)}")
    folder = Path(out)
    results = measure(subjects, found, cut, out=folder, lpips=perceives, originals=originals)
    settings = {"size": size, "fps": fps, "frames": frames, "start": start, "lpips": bool(lpips), "fvd": bool(fvd)}
    results = {"source": source, "settings": settings} | results
    for item, path, row in zip(subjects, paths, results["vaes"], strict=True):
        row.update(describe(item, path))
    (folder / "evaluation.json").write_text(json.dumps(finite(results), indent=1) + "\n", encoding="utf-8")
    page = write_page(folder, results, shown=shown)
    log.say("\n".join(table(results)))
    log.say(f"written: {page}, {folder / 'evaluation.json'}")


def check(cut: Cut, *, clips: int, shown: int) -> None:
    """ConfigError for a number that asks for nothing."""
    for name, value in (("frames", cut.frames), ("clips", clips)):
        if value < 1:
            raise ConfigError(f"{name}={value} asks for nothing; expected 1 or more")
    if shown < 0:
        raise ConfigError(f"shown={shown} is no number of clips; expected 0 or more")
    if cut.fps is not None and not cut.fps > 0:
        raise ConfigError(f"fps={cut.fps} is no rate; expected more than 0")
    if cut.size is not None and min(cut.size) < 1:
        raise ConfigError(f"size={cut.size[1]}x{cut.size[0]} has no pixels; expected WIDTHxHEIGHT, such as 256x256")
    if not 0 <= cut.start < 1:
        raise ConfigError(f"start={cut.start} is no share of a video; expected 0 to less than 1")


def is_dataset(source: str) -> bool:
    """Whether a source is a curated dataset rather than a folder of videos."""
    return not storage.is_local(source) or (Path(source) / "dataset.json").is_file()


def of_folder(source: str, most: int) -> list[Clip]:
    """Videos and pictures of a folder, or a file."""
    if not Path(source).exists():
        raise DataError(f"source={source} does not exist; expected a folder of videos, or a curated dataset")
    return in_folder(Path(source), most=most)


def of_dataset(source: str, *, most: int, validation: float) -> list[Clip]:
    """At most `most` held-out clips of a dataset, keyed by their names; of all clips where none is held out."""
    found, shards = index.load(source), Shards()
    held = index.held_out(found, validation).nonzero()[0].tolist()
    if not held:
        log.say(f"no clip of {source} is held out, so its figures may be of what was trained on")
    rows = sorted(held or range(len(found)), key=lambda row: seed_for(0, "clips to evaluate", found.key[row]))[:most]

    def clip(row: int) -> Clip:
        place = {"offset": int(found.offset[row]), "size": int(found.size[row])}
        return Clip(
            name=found.key[row],
            load=lambda: shards.read(found.tar(row), **place, sha256=found.sha256[row]),
            image=bool(found.image[row]),
            fps=float(found.fps[row]),
            seconds=float(found.seconds[row]),
        )

    return sorted((clip(row) for row in rows), key=lambda item: item.name)


def named(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each path: its last part, or as many as tell it from the others."""
    if len(set(paths)) < len(paths):
        raise ConfigError("vae= names the same VAE twice; name each once")
    parts = {path: Path(path.removeprefix("hub:")).parts for path in paths}
    for count in range(1, max(map(len, parts.values())) + 1):
        names = {path: "/".join(part[-count:]) for path, part in parts.items()}
        if len(set(names.values())) == len(paths):
            return names
    return {path: path for path in paths}


def opened(names: Mapping[str, str], *, ema: bool, precision: str, tile: int | None) -> list[Subject]:
    """The VAEs of paths with short names; a run of ours computes in float32."""
    from dit_video.evaluation.measure import Subject
    from dit_video.pipeline.load import load_vae
    from dit_video.pipeline.pretrained import is_pretrained

    published = {path for path in names if is_pretrained(path)}
    if precision != "float32" and not published:
        raise ConfigError(f"precision={precision} is for VAEs of diffusers, and vae= names none; leave it out")
    return [
        Subject(name, load_vae(path, precision=precision, tile=tile))
        if path in published
        else Subject(name, load_vae(path, ema=ema), tile=tile)
        for path, name in names.items()
    ]


def describe(item: Subject, path: str) -> dict[str, Any]:
    """Which VAE it is: its path, the hash of its weights, its sizes."""
    from dit_video.pipeline.load import weights_hash

    ratio = item.vae.compression
    parameters = sum(p.numel() for p in item.vae.parameters()) if hasattr(item.vae, "parameters") else 0
    return {
        "path": path,
        "kind": getattr(item.vae, "kind", type(item.vae).__name__),
        "vae_hash": weights_hash(item.vae),
        "parameters": parameters,
        "compression": {"time": ratio.time, "space": ratio.space, "channels": ratio.channels},
        "values_ratio": 3 * ratio.time * ratio.space**2 / ratio.channels,
    }


def finite(value: Any) -> Any:
    """The same with what JSON has no number for as text: inf, -inf, nan."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
