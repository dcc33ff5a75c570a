"""What a step that was not learnt from was made of, so that it can be computed again.

    from dit_video.callbacks import replay
    for batch in replay.read("outputs/runs/NAME/replay/000010-1.json"):
        task.training_step(batch, 0)

RUN/replay/STEP-RANK.json names its micro-batches: place, packs, keys, captions, and each one's share of the loss; the
tensors stand beside it, as far as they are held.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dit_video import log
from dit_video.batch import ClipBatch, Layout, PackBatch, Place

MOST = 256 * 2**20  # bytes of a step's tensors that are held until it ends
NESTED = {"layout": Layout, "place": Place}
KINDS = {"ClipBatch": ClipBatch, "PackBatch": PackBatch}


class Replay:
    """Notes the micro-batches of the step in progress; writes them into `folder`, of the newest `keep` steps."""

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self.begin()

    def begin(self) -> None:
        """Forget the step before."""
        self.micros: list[dict[str, Any]] = []
        self.tensors: dict[str, Tensor] = {}
        self.held = 0

    def note(self, batch: ClipBatch | PackBatch) -> None:
        """Add a micro-batch; past MOST its tensors are not held."""
        about, tensors = flat(batch, f"{len(self.micros)}.")
        self.micros.append({"kind": type(batch).__name__, **about})
        self.held += sum(tensor.nbytes for tensor in tensors.values())
        if self.held <= MOST:
            self.tensors |= tensors

    @property
    def keys(self) -> list[str]:
        """The samples so far."""
        return [key for micro in self.micros for key in micro["keys"] if key]

    def write(self, *, step: int, rank: int, about: dict[str, str | float], losses: list[float]) -> Path | None:
        """Write the step, what is said `about` it, and its micro-batches; None where the disk refuses."""
        micros = [{"loss": loss, **micro} for micro, loss in zip(self.micros, losses, strict=True)]
        path = self.folder / f"{step:06d}-{rank}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.tensors:
                held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.tensors.items()}
                save_file(held, path.with_suffix(".safetensors"))
            path.write_text(json.dumps({"step": step, **about, "micros": micros}, indent=1), encoding="utf-8")
            for old in sorted(self.folder.glob(f"*-{rank}.json"))[: -self.keep]:
                old.with_suffix(".safetensors").unlink(missing_ok=True)
                old.unlink()
        except OSError as error:
            log.get("dit_video").warning("%s cannot be written: %s", path, error)
            return None
        return path


def read(path: str | Path) -> list[ClipBatch | PackBatch]:
    """The micro-batches of a step that was written, on the CPU; FileNotFoundError where no tensor was held."""
    written = json.loads(Path(path).read_text(encoding="utf-8"))
    tensors = load_file(Path(path).with_suffix(".safetensors"))
    micros = [
        micro for number, micro in enumerate(written["micros"]) if any(n.startswith(f"{number}.") for n in tensors)
    ]
    return [record(KINDS[micro["kind"]], micro, tensors, f"{number}.") for number, micro in enumerate(micros)]


def flat(batch: Any, prefix: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A record as what JSON can hold, and its tensors by dotted names."""
    about: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            tensors[prefix + field.name] = value
        elif is_dataclass(value):
            about[field.name], inner = flat(value, f"{prefix}{field.name}.")
            tensors |= inner
        else:
            about[field.name] = value
    return about, tensors


def record(kind: Any, about: dict[str, Any], tensors: dict[str, Tensor], prefix: str) -> Any:
    """The record that `flat` has taken apart."""
    values = {}
    for field in fields(kind):
        name = prefix + field.name
        if name in tensors:
            values[field.name] = tensors[name]
        elif field.name in NESTED:
            values[field.name] = record(NESTED[field.name], about[field.name], tensors, f"{name}.")
        else:
            values[field.name] = tuples(about[field.name])
    return kind(**values)


def tuples(value: Any) -> Any:
    """Lists, as JSON has them, as the tuples that records have."""
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value
