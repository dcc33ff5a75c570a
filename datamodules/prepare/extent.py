"""How far a step has come: its shards, and which of them are missing; known before torch is imported.

`STEPS` has an entry for every step of conf/prepare.yaml. It is given all settings of the step, holds against what there
is all that can be told of them without a model, and looks what stands; nothing is written.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.dataset import index
from datamodules.files import storage
from datamodules.prepare import rows, store
from dit_video.errors import CheckpointError, ConfigError, DataError

Settings = Mapping[str, Any]
DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a step makes of a dataset, and how much of it is missing.

    Args:
        dataset: the folder.
        name: of the sidecar, "" where it makes none.
        shards: how many there are.
        missing: numbers of those that do not stand.
        ended: whether nothing but shards is missing.
        parted: whether jobs can share the shards, by part=i/n; else one job makes all.
    """

    dataset: Path
    name: str
    shards: int
    missing: tuple[int, ...]
    ended: bool = True
    parted: bool = True


def curated(settings: Settings) -> Extent:
    """Of step=curate: ended when dataset.json stands, which the process writes that finds no shard missing."""
    from datamodules.prepare.curation import dealing

    dealing.check(**taken(dealing.check, settings))
    shards = dealing.plan(**taken(dealing.plan, settings)).shards
    dataset = Path(settings["dataset"])
    missing = [shard.number for shard in shards if not dealing.finished(shard)]
    ended = (dataset / "dataset.json").is_file()
    return Extent(dataset=dataset, name="", shards=len(shards), missing=tuple(missing), ended=ended)


def captioned(settings: Settings) -> Extent:
    """Of step=captions: a table is imported anew each time, by one job."""
    from datamodules.prepare.captions import check_name, table

    check_name(settings["name"])
    table(Path(settings["captions_csv"]))
    return alone(settings, settings["name"])


def recaptioned(settings: Settings) -> Extent:
    """Of step=recaption."""
    from datamodules.prepare.captions import check_name

    name, keep = settings["name"], settings["keep"]
    check_name(name, keep)
    check_tokens(settings["max_tokens"])
    rows.check(batch=settings["batch"], max_bad_fraction=settings["max_bad_fraction"])
    found = sidecar(settings, "captions")
    if keep and not (found.dataset / "captions" / keep).is_dir():
        raise DataError(f"{found.dataset} has no captions/{keep}; make them with step=captions, or leave keep out")
    check_run("recaptioner", settings["recaptioner"])
    return found


def encoded(settings: Settings) -> Extent:
    """Of step=encode."""
    check_dtype(settings["dtype"])
    rows.check(batch=settings["batch"], max_bad_fraction=settings["max_bad_fraction"])
    found = sidecar(settings, "latents")
    check_run("vae", settings["vae"])
    sizes, patch = settings["sizes"], {"patch": settings["patch"]}
    asked = {"sizes": list(sizes)} if sizes else {"pixels": settings["pixels"], "frames": settings["frames"]}
    recipe = {"buckets": asked | patch, "fps": float(settings["fps"]), "dtype": settings["dtype"]}
    store.hold(found.dataset / "latents" / settings["name"] / "recipe.json", recipe)
    return found


def scored(settings: Settings) -> Extent:
    """Of step=score."""
    check_score(**taken(check_score, settings))
    rows.check(batch=settings["batch"], max_bad_fraction=settings["max_bad_fraction"])
    found, captions, head = sidecar(settings, "scores"), settings["captions"], settings["head"]
    if captions not in {None, "source"} and not (found.dataset / "captions" / captions).is_dir():
        raise DataError(f"{found.dataset} has no captions/{captions}; make them with step=captions or step=recaption")
    if head is not None and not Path(head).is_file():
        raise ConfigError(f"head={head} is no file; expected a safetensors file of linear layers")
    check_model(settings["model"])
    return found


def paired(settings: Settings) -> Extent:
    """Of step=duplicates: all are compared with all, by one job."""
    from datamodules.prepare.duplicates import NAME, check_limits, known

    check_limits(**taken(check_limits, settings))
    found = alone(settings, "")
    folder = found.dataset / "scores" / NAME
    done = known(folder, found.dataset, taken(check_limits, settings))
    return found if not done else Extent(dataset=found.dataset, name="", shards=1, missing=(), parted=False)


def verified(settings: Settings) -> Extent:
    """Of step=verify: it keeps nothing, so all is read each time."""
    from datamodules.prepare.verify import sidecars

    about, name = describe(settings["dataset"]), settings["name"]
    dataset = storage.local(settings["dataset"])
    if name and name not in (known := sidecars(settings["dataset"])):
        raise DataError(f"{dataset} has no sidecar name={name}; it has {', '.join(known) or 'none'}")
    shards = int(about["shards"])
    return Extent(dataset=dataset, name=name or "", shards=shards, missing=tuple(range(shards)))


STEPS: dict[str, Callable[[Settings], Extent]] = {
    "curate": curated,
    "captions": captioned,
    "recaption": recaptioned,
    "encode": encoded,
    "duplicates": paired,
    "score": scored,
    "verify": verified,
}


def taken(function: Callable[..., object], settings: Settings) -> dict[str, Any]:
    """The settings that a function takes."""
    return {name: settings[name] for name in inspect.signature(function).parameters if name in settings}


def describe(dataset: str) -> dict[str, Any]:
    """What dataset.json says of a dataset in a folder; ConfigError where it is at a URL."""
    if not storage.is_local(dataset):
        raise ConfigError(f"dataset={dataset} must be a folder that all machines share")
    return index.describe(dataset)


def sidecar(settings: Settings, kind: str) -> Extent:
    """Of a step that makes KIND/NAME with a table a shard."""
    shards, dataset = int(describe(settings["dataset"])["shards"]), storage.local(settings["dataset"])
    standing = store.standing(dataset / kind / settings["name"])
    missing = tuple(shard for shard in range(shards) if shard not in standing)
    return Extent(dataset=dataset, name=settings["name"], shards=shards, missing=missing)


def alone(settings: Settings, name: str) -> Extent:
    """Of a step that is one job."""
    describe(settings["dataset"])
    return Extent(dataset=storage.local(settings["dataset"]), name=name, shards=1, missing=(0,), parted=False)


def check_tokens(most: int) -> None:
    """ConfigError for captions without a word."""
    if most < 1:
        raise ConfigError(f"max_tokens must be at least 1, got {most}")


def check_dtype(dtype: str) -> None:
    """ConfigError for a type that latents are not stored as."""
    if dtype not in DTYPES:
        raise ConfigError(f"dtype={dtype} must be one of {', '.join(DTYPES)}")


def check_score(*, name: str, frames: int, captions: str | None, prompts: Any, head: str | None) -> None:
    """ConfigError for a sidecar that cannot be, or would be empty."""
    if not name.isidentifier() or name == "duplicates":
        raise ConfigError(f"name={name} cannot name these scores; use letters and digits, and not duplicates")
    if frames < 1:
        raise ConfigError(f"frames must be at least 1, got {frames}")
    if captions is None and not prompts and head is None:
        raise ConfigError("there is nothing to score; give captions=NAME, prompts.NAME=TEXT or head=FILE")


def check_model(model: str) -> None:
    """ConfigError for what is no folder, and no name of the hub either."""
    if not Path(model).exists() and (re.fullmatch(r"[\w.-]+/[\w.-]+", model) is None or Path(model).parent.is_dir()):
        raise ConfigError(f"model={model} is no folder, and no name ORGANISATION/MODEL of the hub either")


def check_run(key: str, path: str) -> None:
    """CheckpointError where there is nothing at `path`, or a run that has no checkpoint yet."""
    folder = Path(path)
    if path.startswith("hub:") or (folder.exists() and not (folder / "config.yaml").is_file()):
        return  # a published model, or a file of weights: the job looks into it
    if not any(checkpoints(folder)):
        what = "has no checkpoint yet" if folder.exists() else "is not there"
        raise CheckpointError(
            f"{key}={path} {what}; expected what train.py wrote to run.dir, such as outputs/runs/NAME"
        )


def checkpoints(folder: Path) -> Iterable[Path]:
    """Manifests of the checkpoints of a run, or of the one that the folder is."""
    yield from folder.glob("manifest.json")
    yield from folder.glob("checkpoints/*/manifest.json")
